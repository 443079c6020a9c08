"""A page for looking: images, masks of several models, runs, and what was measured.

Modules named ``page…`` import Streamlit when they are imported, and only the script that Streamlit runs does
that; all others work without it. What needs Keras, datasets or the benchmark's files is handed in
(:mod:`edgeseg.dashboard.parts`).
"""
