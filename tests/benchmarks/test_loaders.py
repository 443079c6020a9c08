"""Anybody's model files: timed and scored as they are, each in a process of its own."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import toys
from edgeseg.benchmarks import worker_process
from edgeseg.benchmarks.contenders import Choice, Contender, contenders_of
from edgeseg.benchmarks.frames import FrameSet, frames_from_images
from edgeseg.benchmarks.latency import Options, entered, take_turns
from edgeseg.benchmarks.loaders import loader_of
from edgeseg.benchmarks.loaders.base import _class_axis
from edgeseg.benchmarks.measure import LabelledSplit, benchmark_models, check_complete
from edgeseg.benchmarks.protocol import AskMemory, Predict, Scaling
from edgeseg.benchmarks.results import BenchmarkResult
from edgeseg.benchmarks.worker_process import Worker
from edgeseg.errors import DataError, InferenceError, MissingExtraError, UsageError
from edgeseg.evaluation import Sample
from edgeseg.labels import LabelClass, LabelSet

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
QUICK = Options(frames=6, rounds=3, warmup=1, threads=1, cold_starts=1)
SCALING = Scaling("0to1", (1 / 255,) * 3, (0.0,) * 3)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 32, 64, 3)).astype(np.uint8)


@pytest.fixture
def frames(images: np.ndarray) -> FrameSet:
    return frames_from_images(images, "noise")


def network(path: Path, *, planes: bool, dtype: int, classes: int = 3) -> Path:
    """Scores of as many classes, of an image's colours by fixed weights."""
    shape = [1, 3, 32, 64] if planes else [1, 32, 64, 3]
    made = [1, classes, 32, 64] if planes else [1, 32, 64, classes]
    weights = np.random.default_rng(5).normal(size=(3, classes)).astype(np.float32)
    helper = onnx.helper
    nodes = [helper.make_node("Cast", ["image"], ["float"], to=onnx.TensorProto.FLOAT)]
    if planes:
        nodes.append(helper.make_node("Transpose", ["float"], ["last"], perm=[0, 2, 3, 1]))
        nodes.append(helper.make_node("MatMul", ["last", "weights"], ["scores_last"]))
        nodes.append(helper.make_node("Transpose", ["scores_last"], ["scores"], perm=[0, 3, 1, 2]))
    else:
        nodes.append(helper.make_node("MatMul", ["float", "weights"], ["scores"]))
    graph = helper.make_graph(
        nodes,
        "scores",
        [helper.make_tensor_value_info("image", dtype, shape)],
        [helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, made)],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def expected(images: np.ndarray, scale: float, classes: int = 3) -> np.ndarray:
    weights = np.random.default_rng(5).normal(size=(3, classes)).astype(np.float32)
    return (images.astype(np.float32) * scale @ weights).argmax(-1)


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("floats", [False, True])
def test_a_bare_onnx_file_gives_its_own_classes(
    images: np.ndarray, frames: FrameSet, tmp_path: Path, planes: bool, floats: bool
) -> None:
    dtype = onnx.TensorProto.FLOAT if floats else onnx.TensorProto.UINT8
    path = network(tmp_path / "theirs.onnx", planes=planes, dtype=dtype)
    [contender] = contenders_of([path], [1], Choice(scaling=SCALING if floats else None))
    with entered([contender], frames, QUICK) as [entrant]:
        opened = entrant.opened
        assert (opened.height, opened.width, opened.classes) == (32, 64, 3)
        assert str(opened.loaded) == "onnx fp32"
        found = np.stack([entrant.worker.ask(Predict(image)) for image in images])
        take_turns([entrant], QUICK, lambda _done, _total: None)
        latency = entrant.latency(None)
    assert (found == expected(images, 1 / 255 if floats else 1.0)).all()
    assert (latency.total.p50 > 0, len(latency.round_p50)) == (True, 3)
    assert contender.subject(opened).target is None


def test_floats_of_an_unknown_scale_are_asked_for(frames: FrameSet, tmp_path: Path) -> None:
    path = network(tmp_path / "theirs.onnx", planes=False, dtype=onnx.TensorProto.FLOAT)
    with pytest.raises(UsageError, match=r"--input-scale.*it takes float32"):
        Worker(contenders_of([path], [1])[0].job(frames.encoded))


@pytest.mark.parametrize(
    ("made", "axis"),
    [
        ((1, 3, 32, 64), 1),
        ((1, 32, 64, 3), 3),
        ((1, 150, 16, 32), 1),
        ((1, 16, 32, 150), 3),
        ((1, 150, 128, 256), 1),
        ((1, 21, "height", "width"), 1),
        ((1, "height", "width", 21), 3),
        ((1, 21, 0, 0), 1),
        ((1, 32, 64), None),
        ((1, 1, 32, 64), None),
    ],
)
def test_the_classes_lie_where_the_rest_is_a_map(made: tuple[object, ...], axis: int | None) -> None:
    assert _class_axis("theirs", made, 32, 64) == axis


def test_classes_of_an_unknown_number_are_refused() -> None:
    with pytest.raises(UsageError, match="a known number of classes"):
        _class_axis("theirs", (1, "a", "b", "c"), 32, 64)


def test_a_graph_is_called_by_what_it_computes_in(frames: FrameSet, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    path = network(tmp_path / "theirs.onnx", planes=False, dtype=onnx.TensorProto.UINT8)
    openvino.save_model(openvino.Core().read_model(str(path)), str(tmp_path / "theirs.xml"))
    [contender] = contenders_of([tmp_path / "theirs.xml"], [1])
    for precision in (None, "fp32"):
        job = replace(contender, choice=Choice(precision=precision)).job(frames.encoded)
        with Worker(job) as worker:
            loaded = worker.opened.loaded
        assert loaded.precision == {"f32": "fp32", "bf16": "bf16"}[str(loaded.computes_in)]


def test_a_keras_file_without_keras_names_the_extra(
    frames: FrameSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keras.py").write_text("raise ModuleNotFoundError('none', name='keras')")
    (tmp_path / "theirs.keras").write_bytes(b"")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    [contender] = contenders_of([tmp_path / "theirs.keras"], [1])
    with pytest.raises(MissingExtraError, match=r"measuring \.keras files.*edgeseg\[train\]"):
        Worker(contender.job(frames.encoded))


def test_kinds_of_files_are_told_by_their_suffix(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.onnx: expected a model file, found nothing there"):
        loader_of(tmp_path / "none.onnx")
    (tmp_path / "weights.pt").write_bytes(b"")
    with pytest.raises(UsageError, match=r"\.tflite, \.onnx.*found a file that ends in \.pt"):
        loader_of(tmp_path / "weights.pt")
    with pytest.raises(UsageError, match="at least one model"):
        contenders_of([], [1])


@pytest.mark.heavy
def test_a_keras_file_runs_both_ways(images: np.ndarray, frames: FrameSet, tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(3)
    image = keras.Input((32, 64, 3), dtype="uint8")
    scores = keras.layers.Conv2D(4, 3, padding="same")(keras.layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, scores)
    model.save(tmp_path / "theirs.keras")
    [predicting] = contenders_of([tmp_path / "theirs.keras"], [1])
    compiled = Contender(
        "compiled", predicting.path, "edgeseg.cli.keras_runner:open_tf_function", 1, Choice()
    )
    truth = np.asarray(model(images)).argmax(-1)
    with entered([predicting, compiled], frames, QUICK) as entrants:
        assert [e.opened.loaded.runtime for e in entrants] == ["keras predict", "tf.function"]
        for entrant in entrants:
            found = np.stack([entrant.worker.ask(Predict(one)) for one in images])
            assert (found == truth).mean() > 0.999
            start = entrant.opened.cold_start
            assert start.load > 2 * start.imports, "TensorFlow's import is its runtime's, so part of loading"


@pytest.mark.heavy
def test_a_bare_litert_file_of_codes(images: np.ndarray, frames: FrameSet, tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    keras = pytest.importorskip("keras")
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    keras.utils.set_random_seed(4)
    image = keras.Input((32, 64, 3), batch_size=1)
    model = keras.Model(image, keras.layers.Conv2D(5, 3, padding="same")(image))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([(one / 255).astype(np.float32)[None]] for one in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    path = tmp_path / "theirs.tflite"
    path.write_bytes(converter.convert())

    bare = interpreter.Interpreter(str(path))
    bare.allocate_tensors()
    given, made = bare.get_input_details()[0], bare.get_output_details()[0]
    step, zero = given["quantization"]
    truth = []
    for one in images:
        codes = np.clip(np.round(one / 255 / step) + zero, -128, 127).astype(np.int8)
        bare.set_tensor(given["index"], codes[None])
        bare.invoke()
        truth.append(bare.get_tensor(made["index"])[0].argmax(-1))
    [contender] = contenders_of([path], [1], Choice(scaling=SCALING))
    with entered([contender], frames, QUICK) as [entrant]:
        assert (entrant.opened.loaded.precision, entrant.opened.classes) == ("int8", 5)
        found = np.stack([entrant.worker.ask(Predict(one)) for one in images])
    assert (found == np.stack(truth)).mean() > 0.999


def test_as_many_classes_as_the_data_has(frames: FrameSet, tmp_path: Path, images: np.ndarray) -> None:
    path = network(tmp_path / "theirs.onnx", planes=False, dtype=onnx.TensorProto.UINT8)
    contenders = contenders_of([path], [1])

    def split(classes: int) -> LabelledSplit:
        labels = LabelSet("set", tuple(LabelClass(i, f"c{i}", (i, i, i)) for i in range(classes)))
        truth = expected(images, 1.0).astype(np.uint8)
        samples = [Sample(str(i), one, mask) for i, (one, mask) in enumerate(zip(images, truth, strict=True))]
        return LabelledSplit("drawn", "val", labels, len(samples), lambda: samples)

    result = benchmark_models(contenders, frames, QUICK, command="", labelled=split(3))
    assert result.models[0].accuracy is not None
    assert result.models[0].accuracy.miou == pytest.approx(1.0)
    with pytest.raises(DataError, match=r"3 classes, as many as theirs\.onnx gives.*found 4"):
        benchmark_models(contenders, frames, QUICK, command="", labelled=split(4))


def test_one_file_opened_in_two_ways_is_scored_twice(
    frames: FrameSet, tmp_path: Path, images: np.ndarray
) -> None:
    path = network(tmp_path / "theirs.onnx", planes=False, dtype=onnx.TensorProto.FLOAT)
    negated = Scaling("negated", (-1.0,) * 3, (0.0,) * 3)
    contenders = [
        replace(one, name=scaling.name)
        for scaling in (SCALING, negated)
        for one in contenders_of([path], [1], Choice(scaling=scaling))
    ]
    labels = LabelSet("set", tuple(LabelClass(i, f"c{i}", (i, i, i)) for i in range(3)))
    samples = [Sample("one", images[0], expected(images[:1], 1.0)[0].astype(np.uint8))]
    split = LabelledSplit("drawn", "val", labels, 1, lambda: samples)
    right, wrong = benchmark_models(contenders, frames, QUICK, command="", labelled=split).models
    assert right.accuracy is not None
    assert wrong.accuracy is not None
    assert (right.accuracy.miou, wrong.accuracy.miou < 0.5) == (1.0, True)


def test_one_that_is_killed_half_way_keeps_what_it_has(frames: FrameSet, tmp_path: Path) -> None:
    bundles = [toys.write_bundle(tmp_path / f"{name}.edgeseg") for name in ("lives", "dies")]
    options = Options(frames=30, rounds=3, warmup=1, threads=1, cold_starts=1)
    contenders = contenders_of(bundles, [1])
    partials: list[BenchmarkResult] = []
    with entered(contenders, frames, options) as entrants:

        def kill() -> None:
            if len(entrants[1].rounds) == 2 and not entrants[1].failure:
                os.kill(entrants[1].worker.pid, signal.SIGKILL)

        take_turns(entrants, options, lambda _done, _total: None, kill)
        lives, dies = (entrant.latency(None) for entrant in entrants)
    assert (lives.failure, len(lives.round_p50)) == (None, 3)
    assert (dies.failure, len(dies.round_p50)) == ("it ended with code -9", 2)

    result = benchmark_models(contenders, frames, options, command="", on_partial=partials.append)
    assert {partial.state for partial in partials} == {"partial"}
    assert result.state == "complete"
    check_complete(result)
    broken = replace(result, models=(replace(result.models[1], latency=dies),))
    with pytest.raises(InferenceError, match="dies: it ended with code -9"):
        check_complete(broken)


def test_a_worker_that_was_told_nothing_ends_by_itself(frames: FrameSet, tmp_path: Path) -> None:
    path = toys.write_bundle(tmp_path / "toy.edgeseg")
    worker = Worker(contenders_of([path], [1])[0].job(frames.encoded))
    worker._connection.close()
    assert worker._process.wait(timeout=20) == 0
    worker.close()


def test_a_worker_that_hangs_is_ended_and_named(
    frames: FrameSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "_HUNG_SECONDS", 2.0)
    path = toys.write_bundle(tmp_path / "toy.edgeseg")
    with Worker(contenders_of([path], [1])[0].job(frames.encoded)) as worker:
        os.kill(worker.pid, signal.SIGSTOP)
        with pytest.raises(InferenceError, match="did nothing for 2 s"):
            worker.ask(AskMemory())
        assert worker._process.wait(timeout=20) == -signal.SIGKILL
