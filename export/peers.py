"""The same Keras model as other projects convert it: each tool by its own guide, with its own defaults.

What edgeseg exports is measured beside these files. Nothing of edgeseg's is in them: no class map, no
calibration or graph surgery beyond what the tool does by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseg.atomic import atomic_file
from edgeseg.bundle.manifest import Precision
from edgeseg.errors import ConversionError
from edgeseg.export.converter import converting
from edgeseg.export.progress import Stage
from edgeseg.runtimes.openvino import import_openvino

if TYPE_CHECKING:
    import keras

Frames = npt.NDArray[np.uint8]
_ADVICE = "The peer is left out of the comparison; --debug shows all that the converter said."


@dataclass(frozen=True)
class PeerFile:
    """A file, what runs it, and the precision it computes in."""

    path: Path
    runtime: str
    precision: Precision


def peer_files(
    model: keras.Model, frames: Frames, folder: Path, stage: Stage
) -> tuple[list[PeerFile], list[str]]:
    """Convert a model in every way its users find first.

    Args:
        model: ``uint8 [N, H, W, 3]`` to logits.
        frames: ``uint8 [N, H, W, 3]`` RGB, to calibrate on.
        folder: Where the files go.
        stage: Told about each conversion.

    Returns:
        The files, and a sentence for each tool that could not convert the model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    onnx = folder / "fp32.onnx"
    ways: list[tuple[str, Precision, Path, Callable[[Path], None]]] = [
        ("litert", "fp32", folder / "fp32.tflite", lambda path: _litert(model, path, None)),
        ("litert", "int8", folder / "int8.tflite", lambda path: _litert(model, path, frames)),
        ("onnx", "fp32", onnx, lambda path: _onnx(model, path)),
        ("onnx", "int8", folder / "int8.onnx", lambda path: _onnx_int8(onnx, path, frames)),
        ("openvino", "fp32", folder / "fp32.xml", lambda path: _openvino(onnx, path, None)),
        ("openvino", "int8", folder / "int8.xml", lambda path: _openvino(onnx, path, frames)),
    ]
    made, failed = [], []
    for runtime, precision, path, convert in ways:
        name = f"{runtime} {precision}"
        try:
            with stage(f"Converting as its guide says: {name}"), converting(f"conversion to {name}", _ADVICE):
                convert(path)
        except ConversionError as error:
            failed.append(f"{name}: {error.found}")
            continue
        made.append(PeerFile(path, runtime, precision))
    if any(file.path.name == "fp32.xml" for file in made):
        # The same file: a hint at loading is what makes it bfloat16.
        made.append(PeerFile(folder / "fp32.xml", "openvino", "bf16"))
    return made, failed


def _litert(model: keras.Model, path: Path, frames: Frames | None) -> None:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if frames is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([frame[np.newaxis]] for frame in frames)
    _write(path, converter.convert())


def _onnx(model: keras.Model, path: Path) -> None:
    import tensorflow as tf
    import tf2onnx

    spec = tf.TensorSpec((1, *model.input_shape[1:]), tf.uint8, name="image")
    function = tf.function(lambda image: model(image, training=False), input_signature=[spec])
    graph, _ = tf2onnx.convert.from_function(function, input_signature=[spec])
    _write(path, graph.SerializeToString())


def _onnx_int8(fp32: Path, path: Path, frames: Frames) -> None:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rest: Iterator[Any] = iter(frames)

        def get_next(self) -> dict[str, Frames] | None:
            frame = next(self._rest, None)
            return None if frame is None else {"image": frame[np.newaxis]}

    prepared = path.with_suffix(".prepared.onnx")
    quant_pre_process(str(fp32), str(prepared))
    quantize_static(str(prepared), str(path), Reader())
    prepared.unlink()


def _openvino(onnx: Path, path: Path, frames: Frames | None) -> None:
    openvino = import_openvino()
    graph = openvino.Core().read_model(str(onnx))
    if frames is not None:
        import nncf

        batches = [frame[np.newaxis] for frame in frames]
        graph = nncf.quantize(graph, nncf.Dataset(batches))
    openvino.save_model(graph, str(path), compress_to_fp16=False)


def _write(path: Path, data: bytes) -> None:
    with atomic_file(path) as staging:
        staging.write_bytes(data)
