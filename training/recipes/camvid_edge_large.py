"""The real-time model's larger setting for CamVid at 352×480, 1.6 GMACs.

    edgeseg train --recipe camvid_edge_large --data camvid:PATH --encoder-weights ENCODER.weights.h5

SegNet's split, 11 classes, seed 1: val mIoU at label resolution 69.6 after 8 epochs, the last of which was
best. They took 1511 s on two AMD EPYC cores that much other work shared, 730 s of CPU time.
ENCODER.weights.h5: ImageNet's MobileNetV2 without its top; here it was the one of Google Coral's test data.
"""

from __future__ import annotations

from typing import Any


def recipe() -> dict[str, Any]:
    """Windows of 288×384; the encoder goes down to stride 32."""
    return {
        "size": (352, 480),
        "crop": (288, 384),
        "model": "edge",
        "model_options": {"input_scale": 1.0, "encoder_end": 32, "channels": 128},
        "learning_rate": 1.5e-3,
        "encoder_rate": 0.3,
        "warmup": 0.05,
        "ema": 0.99,
        "epochs": 8,
        "batch": 4,
        "augment": {"geometry": 0.8, "rotate": 3.0, "color": 0.3, "blur": 0.05, "noise": 0.05},
    }
