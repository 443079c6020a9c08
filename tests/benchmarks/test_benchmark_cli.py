"""``edgeseg benchmark`` and ``edgeseg data benchmark`` as a user runs them."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import toys
from edgeseg.benchmarks.contenders import contenders_of
from edgeseg.benchmarks.latency import Options
from edgeseg.cli.benchmark import _next_command, benchmark

pytest.importorskip("onnxruntime")
QUICK = ["--frames", "6", "--rounds", "2", "--warmup", "1", "--cold-starts", "1"]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return toys.write_bundle(tmp_path / "toy.edgeseg")


def test_json_is_one_document_and_the_folder_is_complete(bundle: Path, tmp_path: Path) -> None:
    ran = _edgeseg("benchmark", bundle, *QUICK, "--json", "--out", tmp_path / "out")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == json.loads((tmp_path / "out/benchmark.json").read_text())
    assert "Written:" in ran.stderr
    assert "Next:" in ran.stderr
    for name in ("benchmark.md", "miou-latency.png", "latency-stages.png", "report.html"):
        assert (tmp_path / "out" / name).stat().st_size > 500


def test_accuracy_is_measured_on_the_data_and_its_images_are_timed(bundle: Path, tmp_path: Path) -> None:
    data = _labelled_folder(tmp_path / "data")
    out = tmp_path / "out"
    ran = _edgeseg("benchmark", bundle, *QUICK, "--data", f"folder:{data}", "--json", "--out", out)
    assert ran.returncode == 0, ran.stderr
    written = json.loads(ran.stdout)
    assert written["frames"]["size"] == "64x32"
    assert "val images of folder" in written["frames"]["origin"]
    accuracy = written["models"][0]["accuracy"]
    assert (accuracy["samples"], accuracy["label_resolution"]["miou"]) == (2, 1.0)


def test_numbers_are_written_where_nothing_can_be_drawn(bundle: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None; "
        f"sys.argv = ['edgeseg', 'benchmark', {str(bundle)!r}, *{QUICK}]; "
        f"sys.argv += ['--out', {str(tmp_path / 'out')!r}]; "
        "from edgeseg.cli import main; main()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "edgeseg[benchmark]" in ran.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"benchmark.json", "benchmark.md"}


def test_a_place_that_cannot_be_written_is_told_before_anything_is_measured(
    bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("a file")
    ran = _edgeseg("benchmark", bundle, "--frames", "1000000", "--out", tmp_path / "file")
    assert ran.returncode == 2
    assert "a place that can be written" in ran.stderr


def test_folders_get_numbers_and_the_table_is_shown(bundle: Path, tmp_path: Path) -> None:
    for expected in ("toy", "toy-2"):
        ran = _edgeseg("benchmark", bundle, *QUICK, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
        assert "onnx fp32" in ran.stdout
        assert (tmp_path / "runs/benchmark" / expected / "benchmark.json").is_file()


def test_the_latency_gate_exits_6_after_writing(bundle: Path, tmp_path: Path) -> None:
    ran = _edgeseg("benchmark", bundle, *QUICK, "--max-latency-ms", "0.001", "--out", tmp_path / "out")
    assert ran.returncode == 6
    assert "--max-latency-ms" in ran.stderr
    assert "toy" in ran.stderr
    assert (tmp_path / "out/benchmark.json").is_file()


def test_a_regression_exits_6_after_writing(bundle: Path, tmp_path: Path) -> None:
    quick = [*QUICK, "--json"]
    assert _edgeseg("benchmark", bundle, *quick, "--out", tmp_path / "old").returncode == 0
    old = tmp_path / "old" / "benchmark.json"
    ran = _edgeseg(
        "benchmark", bundle, *quick, "--compare", old, "--tolerance", 1e6, "--out", tmp_path / "same"
    )
    assert ran.returncode == 0, ran.stderr
    values = json.loads(old.read_text())
    for name in ("p50", "p99"):
        values["models"][0]["stages_ms"]["total"][name] /= 1000
    old.write_text(json.dumps(values))
    ran = _edgeseg("benchmark", bundle, *quick, "--compare", old, "--out", tmp_path / "new")
    assert ran.returncode == 6
    assert "no model slower than then by more than 5 %" in ran.stderr
    assert (tmp_path / "new" / "benchmark.json").is_file()


def test_a_run_of_other_models_is_refused_before_anything_is_measured(bundle: Path, tmp_path: Path) -> None:
    assert _edgeseg("benchmark", bundle, *QUICK, "--out", tmp_path / "old").returncode == 0
    other = toys.write_bundle(tmp_path / "other.edgeseg")
    ran = _edgeseg(
        *("benchmark", other, "--frames", "1000000", "--source", tmp_path / "old/latency-stages.png"),
        *("--compare", tmp_path / "old/benchmark.json", "--out", tmp_path / "out"),
    )
    assert ran.returncode == 2
    assert "a run of one of: other, found one of toy" in ran.stderr


def test_the_next_command_is_one_that_takes_the_model(bundle: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("their net.onnx", "best.keras")]
    for file in files:
        file.write_bytes(b"")
    nexts = [_next_command(contenders_of(paths, [1])) for paths in ([files[0]], [files[1]], [*files, bundle])]
    assert nexts[0] == f"edgeseg bundle '{files[0]}' --labels labels.yaml"
    assert nexts[1].startswith("edgeseg export ")
    assert nexts[2].startswith(f"edgeseg run {bundle} ")


def test_threads_are_swept_and_a_camera_is_played(bundle: Path, tmp_path: Path) -> None:
    ran = _edgeseg(
        "benchmark", bundle, *QUICK, "--threads", "1,2", "--fps", "200", "--deadline", "1000", "--json",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    models = json.loads(ran.stdout)["models"]
    assert [(model["name"], model["threads"]) for model in models] == [("toy ×1", 1), ("toy ×2", 2)]
    assert all(model["stream"]["frames"] == 6 and model["stream"]["late"] == 0 for model in models)
    assert "At a camera's rate" in (tmp_path / "out/report.html").read_text()
    for arguments, message in (
        (("--threads", "0"), "a number of at least 1"),
        (("--deadline", "5"), "--fps with it"),
        (("--pixel-scale", "bgr"), "pixel scale 'bgr'"),
    ):
        ran = _edgeseg("benchmark", bundle, *arguments)
        assert ran.returncode == 2
        assert message in ran.stderr


def test_minutes_of_load_give_curves(bundle: Path, tmp_path: Path) -> None:
    ran = _edgeseg("benchmark", bundle, *QUICK, "--minutes", "0.05", "--json", "--out", tmp_path / "out")
    assert ran.returncode == 0, ran.stderr
    [run] = json.loads(ran.stdout)["sustained"]["runs"]
    assert run["name"] == "toy"
    assert len(run["curve"]["p50_ms"]) == len(run["curve"]["seconds"]) > 1
    assert (tmp_path / "out/sustained.png").stat().st_size > 10_000
    page = (tmp_path / "out/report.html").read_text()
    assert "Sustained load, 0.05 minutes" in page
    assert page.count("data:image/png;base64,") == 2
    ran = _edgeseg("benchmark", bundle, "--minutes", "0")
    assert (ran.returncode, "--minutes" in ran.stderr) == (2, True)


def test_a_run_that_is_killed_leaves_what_it_had_marked_partial(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "benchmark.json"
    # Written after the JSON, and with this name all at once.
    last = out.with_name("benchmark.md")
    endless = ["--frames", "2000000", "--rounds", "1000000", "--warmup", "1", "--cold-starts", "1"]
    command = [sys.executable, "-m", "edgeseg", "benchmark", str(bundle), *endless, "--out", str(out.parent)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        until = time.monotonic() + 120
        while not last.is_file() and time.monotonic() < until:
            time.sleep(0.05)
        running.kill()
    values = json.loads(out.read_text())
    assert values["state"] == "partial"
    assert values["models"][0]["stages_ms"]["total"]["p50"] > 0
    assert "incomplete: the run was stopped" in last.read_text()
    assert {path.name for path in out.parent.iterdir()} == {"benchmark.json", "benchmark.md"}


def test_a_bundle_that_is_not_there_exits_8(tmp_path: Path) -> None:
    ran = _edgeseg("benchmark", tmp_path / "none.edgeseg", "--out", tmp_path / "out")
    assert ran.returncode == 8
    assert not (tmp_path / "out").exists()


def test_the_flags_defaults_are_those_of_the_options() -> None:
    parameters = inspect.signature(benchmark).parameters
    values = {**Options().to_dict(), "threads": str(Options().threads)}
    del values["stream"]  # --fps and --deadline, off by default
    for name, value in values.items():
        assert parameters[name].default == value


def test_the_data_path_beside_the_plain_generator(tmp_path: Path) -> None:
    pytest.importorskip("albumentations")
    from edgeseg.training.data.synthetic import open_synthetic, write_cityscapes

    write_cityscapes(open_synthetic("train=6,val=1,size=64x128"), tmp_path / "city")
    ran = _edgeseg(
        *("data", "benchmark", "--data", f"cityscapes8:{tmp_path / 'city'}", "--size", "32x32"),
        *("--batch", "4", "--images", "6", "--rounds", "1", "--workers", "1", "--out", tmp_path / "path"),
    )
    assert ran.returncode == 0, ran.stderr
    written = json.loads((tmp_path / "path.json").read_text())
    assert [c["name"] for c in written["contenders"]][:2] == ["plain generator", "edgeseg"]
    assert all(c["images_per_second"] > 0 for c in written["contenders"])
    assert written["images"]["size"] == "128x64"


def test_drawn_scenes_without_files_are_refused(tmp_path: Path) -> None:
    ran = _edgeseg("data", "benchmark", "--data", "synthetic:train=2,val=1", "--out", tmp_path / "path")
    assert ran.returncode == 2
    assert "edgeseg data synthesize" in ran.stderr


def _labelled_folder(folder: Path) -> Path:
    """Two images of each split with the classes that the toy bundle finds in them."""
    classes = "classes: [{name: red}, {name: green}, {name: blue}]\n"
    for split in ("train", "val"):
        for index in range(2):
            pixels = np.random.default_rng(index).integers(0, 256, (32, 64, 3)).astype(np.uint8)
            for kind, picture in (("images", pixels[..., ::-1]), ("masks", np.argmax(pixels, axis=-1))):
                path = folder / split / kind / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), picture.astype(np.uint8))
    (folder / "labels.yaml").write_text(classes)
    return folder


def _edgeseg(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeseg", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120, check=False)
