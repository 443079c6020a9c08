"""A wrapped bundle beside the bare file that it came from, at any later time."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from edgeseg.bundle import Bundle
from edgeseg.bundle.manifest import Wrapping
from edgeseg.export.converter import quiet
from edgeseg.export.measure import loaded
from edgeseg.export.wrapping.bundle import open_file
from edgeseg.export.wrapping.read_model import read_model
from edgeseg.export.wrapping.reading import Asked
from edgeseg.export.wrapping.reference import BareModel
from edgeseg.export.wrapping.tensors import RawModel
from edgeseg.metrics import agreement


def opened_bare(file: Path) -> RawModel:
    """The file, as :func:`open_file` opens it."""
    with quiet():
        return open_file(file)


def is_bare_file(wrapping: Wrapping, raw: RawModel) -> bool:
    """Whether this is, byte for byte, the file that was wrapped."""
    return hashlib.sha256(raw.data).hexdigest() == wrapping.sha256


def agreement_with_bare(bundle: Bundle, wrapping: Wrapping, raw: RawModel) -> float:
    """The share of the golden frames' pixels, 0 to 1, in which bundle and bare file give the same class.

    Args:
        bundle: A wrapped bundle.
        wrapping: Of its model: the file is read again as it says.
        raw: The file that was wrapped, or another that should give the same.

    Raises:
        UsageError, DataError: The file cannot be read as it was.
        BundleError: The bundle's model cannot be loaded.
    """
    given = bundle.manifest.input
    asked = Asked(
        pixel_scale=wrapping.pixel_scale,
        channel_order=wrapping.channel_order,
        size=(given.height, given.width),
        output_name=wrapping.output_name,
        output_layout=wrapping.output_layout,
        threshold=wrapping.threshold,
    )
    with quiet():
        bare = BareModel(raw, read_model(raw, asked, bundle.labels), bundle.labels)
        expected = [bare.predict(frame) for frame in bundle.golden().frames]
    with loaded(bundle, self_test=False) as segmenters:
        (segmenter,) = segmenters.values()
        found = [segmenter.predict(frame) for frame in bundle.golden().frames]
    return float(np.mean([agreement(mask, bare) for mask, bare in zip(found, expected, strict=True)]))
