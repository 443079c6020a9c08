"""``unet`` with the EfficientNetB3 encoder (Tan and Le, https://arxiv.org/abs/1905.11946)."""

from __future__ import annotations

import keras

from edgeseg.training.models import unet


def build(
    num_classes: int,
    height: int,
    width: int,
    *,
    encoder_weights: str = "none",
    encoder_batchnorm: str | None = None,
    decoder: tuple[int, ...] = unet.DECODER,
    momentum: float = 0.9,
) -> keras.Model:
    """See :func:`edgeseg.training.models.unet.build`; upsampling is ``transpose``."""
    return unet.build(
        num_classes,
        height,
        width,
        encoder="efficientnetb3",
        encoder_weights=encoder_weights,
        encoder_batchnorm=encoder_batchnorm,
        decoder=decoder,
        upsampling="transpose",
        momentum=momentum,
    )
