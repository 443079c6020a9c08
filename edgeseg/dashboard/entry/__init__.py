"""The script that Streamlit runs, in a folder of its own: Streamlit puts a script's folder on the path."""
