"""The real-time model for CamVid at 256×256, in minutes on two CPU cores.

    edgeseg train --recipe camvid_edge --data camvid:PATH --encoder-weights ENCODER.weights.h5

SegNet's split, 11 classes, seed 1: val mIoU at label resolution 64.4 with 0.21 GMACs (best epoch 15 of 16);
the epochs took 964 s on two AMD EPYC cores that much other work shared; the run took 480 s of CPU time.
ENCODER.weights.h5: ImageNet's MobileNetV2 without its top; here it was the one of Google Coral's test data.
"""

from __future__ import annotations

from typing import Any


def recipe() -> dict[str, Any]:
    """The whole image at 256×256; the encoder learns at a third of the decoder's rate."""
    return {
        "size": (256, 256),
        "model": "edge",
        "learning_rate": 1.5e-3,
        "encoder_rate": 0.3,
        "warmup": 0.05,
        "ema": 0.99,
        "epochs": 16,
        "batch": 4,
        "augment": {"geometry": 0.8, "rotate": 3.0, "color": 0.3, "blur": 0.05, "noise": 0.05},
    }
