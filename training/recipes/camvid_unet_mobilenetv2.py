"""U-Net on MobileNetV2 for CamVid at 352×480, in half an hour on two CPU cores.

    edgeseg train --recipe camvid_unet_mobilenetv2 --data camvid:PATH --encoder-weights ENCODER.weights.h5

SegNet's split, 11 classes, seed 1, label resolution: val mIoU 70.3, the epoch chosen on other streets
(--set train_split=train_fit --set val_split=train_dev: 295 training images, the last of 16 epochs was best),
1908 s as the sum of the epochs on two AMD EPYC cores that other work shared. Chosen on val itself, with all
367 images: 71.0 after 10 epochs, 2219 s on two Xeon cores that other work shared.
ENCODER.weights.h5: ImageNet's MobileNetV2 without its top; here it was the one of Google Coral's test data.
"""

from __future__ import annotations

from typing import Any


def recipe() -> dict[str, Any]:
    """Windows of 288×384, so that more steps fit the same time."""
    return {
        "size": (352, 480),
        "crop": (288, 384),
        "model": "unet",
        # The fifth level of the decoder would cost a quarter of the step for half a pixel of sharpness.
        "model_options": {"encoder": "mobilenetv2", "decoder": (256, 128, 64, 32), "separable": True},
        "learning_rate": 1.5e-3,
        "encoder_rate": 0.3,
        "warmup": 0.05,
        "ema": 0.99,
        "epochs": 16,
        "batch": 4,
        "augment": {"geometry": 0.8, "rotate": 3.0, "color": 0.3, "blur": 0.05, "noise": 0.05},
    }
