"""SegFormer B0 to B5, made of KerasHub's layers, backbone and segmenter.

Xie et al., SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers,
https://arxiv.org/abs/2105.15203.

KerasHub's Mix Transformer takes square images alone: from a sequence of tokens it takes the root of their
number for both sides. Here its layers work on maps ``[N, h, w, C]`` instead, whose sides are known; weights,
their order and the results on a square are those of KerasHub.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
from keras import layers, ops

from edgeseg.errors import MissingExtraError, UsageError
from edgeseg.training.models.blocks import check_option, image_input, infers
from edgeseg.training.models.pixel_scale import rescale

try:
    from keras_hub.models import (
        FeaturePyramidBackbone,
        MiTBackbone,
        SegFormerBackbone,
        SegFormerImageSegmenter,
    )
    from keras_hub.src.models.mit.mit_layers import (
        DropPath,
        MixFFN,
        OverlappingPatchingAndEmbedding,
        SegFormerMultiheadAttention,
    )
except ModuleNotFoundError as error:
    raise MissingExtraError.of("model segformer", "keras-hub", "segformer") from error

Shape = tuple[int | None, ...]

MULTIPLE = 32
HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)
PATCHES = (7, 3, 3, 3)
STRIDES = (4, 2, 2, 2)


@dataclass(frozen=True)
class Variant:
    """One size of the family: blocks and channels of its four stages, and channels of its decoder."""

    depths: tuple[int, int, int, int]
    channels: tuple[int, int, int, int]
    decoder: int


VARIANTS = {
    "b0": Variant((2, 2, 2, 2), (32, 64, 160, 256), 256),
    "b1": Variant((2, 2, 2, 2), (64, 128, 320, 512), 256),
    "b2": Variant((3, 4, 6, 3), (64, 128, 320, 512), 768),
    "b3": Variant((3, 4, 18, 3), (64, 128, 320, 512), 768),
    "b4": Variant((3, 8, 27, 3), (64, 128, 320, 512), 768),
    "b5": Variant((3, 6, 40, 3), (64, 128, 320, 512), 768),
}


def build(
    variant: str,
    num_classes: int,
    height: int,
    width: int,
    *,
    encoder_weights: str = "none",
    drop_path: float = 0.1,
) -> keras.Model:
    """See :func:`edgeseg.training.models.build_model`; the size must be a multiple of 32, square or not.

    Args:
        variant: One of ``VARIANTS``.
        num_classes, height, width: The output's classes and the input's size.
        encoder_weights: ``none`` for a random start, or a preset of ``keras_hub.models.MiTBackbone``, such as
            ``mit_b0_cityscapes_1024`` (KerasHub downloads it once), or the folder of one. Those were
            trained on ADE20K and Cityscapes; KerasHub has none of ImageNet alone.
        drop_path: Share of the samples that skip the last block while training; it grows from 0 in the first.

    Raises:
        UsageError: An option's value does not fit, or the preset cannot be had or is of another variant.
    """
    fits = isinstance(drop_path, int | float) and not isinstance(drop_path, bool) and 0 <= drop_path < 1
    check_option("drop_path", drop_path, fits=fits, expected="a number from 0 to less than 1")
    check_option(
        "encoder_weights", encoder_weights, fits=isinstance(encoder_weights, str),
        expected="none, or a preset of KerasHub's MiTBackbone",
    )  # fmt: skip
    image = image_input(height, width, MULTIPLE)
    preset = _preset(encoder_weights, variant) if encoder_weights != "none" else None
    transformer = MixTransformer(VARIANTS[variant], (height, width, 3), drop_path)
    encoder = keras.Model(transformer.input, list(transformer.pyramid_outputs.values()), name="encoder")
    if preset:
        encoder.set_weights(preset.get_weights())
    decoder = SegFormerBackbone(transformer, VARIANTS[variant].decoder, name="decoder")
    segmenter = SegFormerImageSegmenter(decoder, num_classes, name="segmenter")
    x = _segmented(encoder(rescale(image, "imagenet")), decoder, segmenter)
    logits = layers.Activation("linear", dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=f"segformer_{variant}")


b0, b1, b2, b3, b4, b5 = (partial(build, variant) for variant in VARIANTS)


class MixTransformer(FeaturePyramidBackbone):
    """KerasHub's ``MiTBackbone`` for images of any sides: its outputs are maps at strides 4, 8, 16 and 32."""

    def __init__(self, variant: Variant, image_shape: tuple[int, int, int], drop_path: float) -> None:
        blocks, last = 0, sum(variant.depths) - 1
        image = x = keras.Input(image_shape)
        levels = {}
        for stage, channels in enumerate(variant.channels):
            x = PatchEmbedding(channels, PATCHES[stage], STRIDES[stage], name=f"patch_and_embed_{stage}")(x)
            for index in range(variant.depths[stage]):
                x = TransformerBlock(
                    channels, HEADS[stage], REDUCTIONS[stage], drop_path * blocks / last,
                    name=f"hierarchical_encoder_{stage}_{index}",
                )(x)  # fmt: skip
                blocks += 1
            x = layers.LayerNormalization(epsilon=1e-5, name=f"output_level_{stage}")(x)
            levels[f"P{stage + 1}"] = x
        super().__init__(inputs=image, outputs=x)
        self.pyramid_outputs = levels
        self.hidden_dims = variant.channels


@keras.saving.register_keras_serializable(package="edgeseg")
class PatchEmbedding(OverlappingPatchingAndEmbedding):
    """Overlapping patches to a map of tokens, ``[N, H, W, C]`` to ``[N, H / stride, W / stride, C']``."""

    def build(self, input_shape: Shape) -> None:
        padded = self.padding.compute_output_shape(input_shape)
        _build(padded, self.proj)
        _build(self.proj.compute_output_shape(padded), self.norm)

    def call(self, x: Any) -> Any:
        return self.norm(self.proj(self.padding(x)))


@keras.saving.register_keras_serializable(package="edgeseg")
class TransformerBlock(layers.Layer):
    """Attention and a feed-forward network over a map ``[N, h, w, channels]``, each with a way around it.

    Args:
        channels: Of input and output.
        heads: Number of attention heads.
        reduction: Keys and values are taken from a map smaller by this factor.
        drop_path: Share of the samples that skip each of the two while training.
    """

    def __init__(self, channels: int, heads: int, reduction: int, drop_path: float, **settings: Any) -> None:
        super().__init__(**settings)
        self._config = {"channels": channels, "heads": heads, "reduction": reduction, "drop_path": drop_path}
        self.norm1 = layers.LayerNormalization(epsilon=1e-6)
        self.attn = MapAttention(channels, heads, reduction)
        self.drop_path = DropPath(drop_path)
        self.norm2 = layers.LayerNormalization(epsilon=1e-6)
        self.mlp = MapFeedForward(channels, 4 * channels)

    def build(self, input_shape: Shape) -> None:
        _build(input_shape, self.norm1, self.attn, self.norm2, self.mlp)

    def call(self, x: Any) -> Any:
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._config}


class MapAttention(SegFormerMultiheadAttention):
    """Attention of each token of a map ``[N, h, w, C]`` to all of them, or to those of a smaller map."""

    def build(self, input_shape: Shape) -> None:
        _build(input_shape, self.q, self.k, self.v, self.proj)
        if self.sr_ratio > 1:
            _build(input_shape, self.sr, self.norm)

    def call(self, x: Any) -> Any:
        source = self.norm(self.sr(x)) if self.sr_ratio > 1 else x
        queries, keys, values = (
            self._heads(self.q(x)),
            self._heads(self.k(source)),
            self._heads(self.v(source)),
        )
        shares = ops.softmax(ops.matmul(queries, ops.transpose(keys, (0, 1, 3, 2))) * self.scale)
        mixed = ops.transpose(ops.matmul(self.dropout(shares), values), (0, 2, 1, 3))
        return self.proj_drop(self.proj(ops.reshape(mixed, (-1, *x.shape[1:]))))

    def _heads(self, x: Any) -> Any:
        """``[N, h, w, C]`` to ``[N, heads, h · w, C / heads]``."""
        _, height, width, channels = x.shape
        split = ops.reshape(x, (-1, height * width, self.num_heads, channels // self.num_heads))
        return ops.transpose(split, (0, 2, 1, 3))


class MapFeedForward(MixFFN):
    """Two products over the channels, and between them a 3×3 convolution that tells tokens where they are."""

    def build(self, input_shape: Shape) -> None:
        _build(input_shape, self.fc1)
        _build(self.fc1.compute_output_shape(input_shape), self.dwconv, self.fc2)

    def call(self, x: Any) -> Any:
        return self.fc2(ops.gelu(self.dwconv(self.fc1(x))))


def _build(input_shape: Shape, *parts: keras.Layer) -> None:
    for part in parts:
        part.build(input_shape)


def _segmented(features: list[Any], decoder: SegFormerBackbone, segmenter: SegFormerImageSegmenter) -> Any:
    """KerasHub's decoder and head, part by part, so that the encoder stays one that a trainer can freeze."""
    maps = [
        infers(decoder.resizing, project(feature))
        for project, feature in zip(decoder.mlp_blocks, features, strict=True)
    ]
    x = decoder.linear_fuse(decoder.concat(maps[::-1]))
    return infers(segmenter.resizing, segmenter.output_segmentation_head(segmenter.dropout(x)))


def _preset(name: str, variant: str) -> MiTBackbone:
    try:
        backbone = MiTBackbone.from_preset(name)
    except Exception as error:  # KerasHub, kagglehub and the network raise classes of many packages.
        raise UsageError(
            f"model_options.encoder_weights={name}",
            expected=f"a preset of KerasHub's MiTBackbone to download, or its folder: {_presets(variant)}",
            found=" ".join(str(error).split())[:300],
            next_step="Correct the name, connect once, or start without: encoder_weights=none.",
        ) from error
    found = (tuple(backbone.layerwise_depths), tuple(backbone.hidden_dims))
    expected = VARIANTS[variant]
    if found != (expected.depths, expected.channels):
        raise UsageError(
            f"model_options.encoder_weights={name}",
            expected=f"weights of MiT-{variant.upper()}: {_presets(variant)}",
            found=f"blocks {found[0]} of channels {found[1]}",
            next_step="Name a preset of this variant, or choose the segformer that it fits.",
        )
    return backbone


def _presets(variant: str) -> str:
    return ", ".join(name for name in MiTBackbone.presets if f"_{variant}_" in name)
