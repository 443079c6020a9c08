"""Bundles behind HTTP: ``edgeseg serve``.

From the outside in: ``server`` listens, ``connections`` keeps clients to their time, ``front`` words every
refusal, ``app`` knows the addresses, ``bodies`` takes what is sent, ``service`` leads a picture through,
``pictures`` judges and decodes it, ``pool`` runs the models, ``answers`` makes what is given back. FastAPI
and uvicorn are the extra ``serve``; only ``server`` imports what needs them.
"""
