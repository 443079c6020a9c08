"""The colours and marks that every plot shares, so that a reader knows them again."""

from __future__ import annotations

# Okabe and Ito's colours: told apart by the colour-blind too, and in grey.
SERIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
PRECISIONS = {"fp32": "#0072B2", "fp16": "#E69F00", "bf16": "#CC79A7", "int8": "#009E73"}
RUNTIMES = {
    "litert": "o",
    "onnx": "s",
    "openvino": "D",
    "tensorrt": "^",
    "keras predict": "P",
    "tf.function": "X",
}
"""Runtime to Matplotlib's marker."""
INK, SOFT, GRID = "#1F2933", "#616E7C", "#E4E7EB"
