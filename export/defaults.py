"""What an export does where it is not told otherwise.

The command's help shows these; they stand in a module of their own so that it need not import the rest.
"""

from __future__ import annotations

from pathlib import Path

TARGET = "x86"
OUTPUT = "mask"
MAX_DROP_POINTS = 0.5
MAX_CLASS_DROP_POINTS = 2.0
SAMPLES = 256
CALIBRATION_SAMPLES = 128
QAT_STEPS = 150
OUT = Path("runs/export")
