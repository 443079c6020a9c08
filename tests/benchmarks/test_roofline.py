"""The roofline: its arithmetic by hand, its kernels, and the verb on a toy bundle. No test asserts a time."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import toys
from edgeseg.benchmarks import peaks as peaks_module
from edgeseg.benchmarks.graph_costs import GraphCost, LayerCost
from edgeseg.benchmarks.host import Host
from edgeseg.benchmarks.peaks import Peak, PeakMeter, Peaks, array_bytes, compute_kernels, memory_kernels
from edgeseg.benchmarks.protocol import Loaded
from edgeseg.benchmarks.roofline import Placed, count_bundle
from edgeseg.benchmarks.roofline_plot import plot_roofline
from edgeseg.benchmarks.roofline_report import PEAKS_HEADER, Roofline, peak_rows, write_roofline
from edgeseg.benchmarks.summary import summarise
from edgeseg.bundle import Bundle
from edgeseg.errors import UsageError

HOST = Host("A CPU", 2, 8.0, "A system", "x86_64", "performance", 0.1, "3.11.7", {"edgeseg": "0.1.0"})
PEAKS = Peaks(
    {
        name: Peak(giga * 1e9, (giga * 1e9,), "kernel", "library")
        for name, giga in (("int8", 400), ("fp32", 100))
    },
    Peak(20e9, (19e9, 21e9), "copy", "library"),
)


def placed(
    *layers: LayerCost, ms: float = 10.0, computes_in: str | None = None, peaks: Peaks = PEAKS
) -> Placed:
    loaded = Loaded("openvino", "1", "model.xml", "int8", 2, computes_in)
    return Placed("street", loaded, GraphCost(layers), summarise([np.full(5, ms)]), peaks)


def layer(macs: float, bytes_: float, *, integer: bool = False) -> LayerCost:
    return LayerCost("Conv", "c", int(macs), int(bytes_), 0 if integer else int(bytes_), integer)


def test_a_model_bound_by_arithmetic() -> None:
    # 500 million MACs in 10 ms are 50 thousand millions a second, half of what fp32 can.
    model = placed(layer(500e6, 10e6))
    assert model.intensity == 50
    assert model.macs_per_second == pytest.approx(50e9)
    assert model.compute_peak == pytest.approx(100e9)
    assert model.memory_roof == pytest.approx(50 * 20e9)
    assert (model.bound, model.share(model.roof)) == ("compute", pytest.approx(0.5))


def test_a_model_bound_by_memory() -> None:
    # 2 MACs for each byte: memory allows 40 thousand millions a second of the 100 that fp32 can.
    model = placed(layer(100e6, 50e6))
    assert model.roof == pytest.approx(40e9)
    assert (model.bound, model.share(model.roof)) == ("memory", pytest.approx(0.25))
    assert model.share(model.compute_peak) == pytest.approx(0.1)


def test_each_layer_counts_at_the_peak_of_its_precision() -> None:
    # 400 million in int8 take 1 ms at its peak, 100 million in fp32 another: 500 million in 2 ms.
    model = placed(layer(400e6, 1e6, integer=True), layer(100e6, 1e6))
    assert model.compute_peak == pytest.approx(250e9)


def test_without_a_peak_there_is_no_share() -> None:
    only_float = replace(PEAKS, compute={"fp32": PEAKS.compute["fp32"]})
    model = placed(layer(1e6, 1e6, integer=True), peaks=only_float)
    assert (model.compute_peak, model.roof, model.share(model.roof)) == (None, None, None)
    assert model.to_dict()["share_of_roof"] is None
    # bfloat16 was not measured either.
    assert placed(layer(1e6, 1e6), computes_in="bf16").compute_peak is None
    assert placed(layer(1e6, 1e6, integer=True), computes_in="bf16").compute_peak == pytest.approx(400e9)


def test_a_runtime_that_computes_in_bfloat16_moves_half() -> None:
    assert placed(layer(1e6, 4e6)).bytes == 4e6
    assert placed(layer(1e6, 4e6), computes_in="bf16").bytes == 2e6
    assert placed(layer(1e6, 4e6, integer=True), computes_in="bf16").bytes == 4e6


def test_the_fastest_kernel_of_its_median_is_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    meter = PeakMeter(1)
    kernels = [kernel.name for kernel in meter._kernels["fp32"]]
    for kind, listed in meter._kernels.items():
        for place, kernel in enumerate(listed):
            meter._rates[kind, kernel.name] = [1e9 * (place + 1), 5e9 * (place + 1), 3e9 * (place + 1)]
    found = meter.peaks()
    assert found.compute["fp32"].per_second == 6e9
    assert (found.compute["fp32"].kernel, found.memory.kernel) == (kernels[1], "addition")
    assert found.compute["fp32"].library.startswith("OpenVINO")


def test_a_round_runs_every_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    for name, value in (
        ("_CHANNELS", 16),
        ("_SIDE", 8),
        ("_ORDER", 32),
        ("_SMALLEST_ARRAY", 1 << 16),
        ("_CACHES", 0),
    ):
        monkeypatch.setattr(peaks_module, name, value)
    meter = PeakMeter(1)
    meter.round()
    meter.round()
    found = meter.peaks()
    assert "fp32" in found.compute
    for peak in (*found.compute.values(), found.memory):
        assert len(peak.rounds) == 2
        assert 0 < min(peak.rounds) <= peak.per_second <= max(peak.rounds)
    assert len(peak_rows(found)) == len(found.compute) + 1
    assert all(len(row) == len(PEAKS_HEADER) for row in peak_rows(found))


def test_kernels_compute_in_what_they_are_named_after(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(peaks_module, "_SIDE", 8)
    assert set(compute_kernels(1)) <= {"int8", "bf16", "fp32"}
    # A CPU whose int8 kernels are not found computes in float, and has no peak of int8.
    monkeypatch.setattr(peaks_module, "_executed_in", lambda _compiled: {"f32"})
    assert set(compute_kernels(1)) == {"fp32"}


def test_memory_kernels_do_what_they_count() -> None:
    a, b, c = (np.full(1001, value) for value in (0.0, 1.0, 2.0))
    copy, add = memory_kernels(2, (a, b, c))
    assert (copy.amount, add.amount) == (2 * 8008, 3 * 8008)
    copy.step()
    assert np.array_equal(a, np.full(1001, 1.0))
    add.step()
    assert np.array_equal(a, np.full(1001, 3.0))


def test_arrays_are_larger_than_the_caches_and_smaller_than_the_memory(tmp_path: Path) -> None:
    for index, size in enumerate(("32K\n", "1024K\n", "32M\n")):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "size").write_text(size)
    assert array_bytes(tmp_path, 64 << 30) == 8 * (32 << 20)
    assert array_bytes(tmp_path, 1 << 30) == 64 << 20
    assert array_bytes(tmp_path / "none", 64 << 30) == 64 << 20


def test_it_is_written_and_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    models = (placed(layer(500e6, 10e6)), placed(layer(100e6, 50e6)), placed(layer(100e6, 50e6), ms=11))
    result = Roofline(
        "now", "edgeseg benchmark-roofline A", HOST, {"frames": 9, "rounds": 3, "threads": 2}, models
    )
    write_roofline(result, tmp_path)
    plot_roofline(models, tmp_path / "roofline.png")
    written = json.loads((tmp_path / "roofline.json").read_text())
    assert [model["share_of_roof"] for model in written["models"]] == [0.5, 0.25, 0.2273]
    assert written["peaks_per_second"]["gmacs"]["int8"]["giga_per_second"] == 400
    text = (tmp_path / "roofline.md").read_text()
    assert "| street | openvino int8 | 0.500 | 0 | 10.00 | 50.0 | 10.00 | 50.0 | 50 | 50 | compute |" in text
    assert "computes no bf16 of its own" in text
    assert "![" in text
    assert "(roofline.png)" in text
    picture = cv2.imread(str(tmp_path / "roofline.png"))
    assert picture.shape[1] >= 1000
    assert picture.std() > 10


def test_a_model_that_does_not_multiply_is_refused(tmp_path: Path) -> None:
    bundle = Bundle.open(toys.write_bundle(tmp_path / "toy.edgeseg", **toys.model_for("litert")))
    with pytest.raises(UsageError, match=r"toy\.edgeseg.*convolutions"):
        count_bundle(bundle)


def test_the_verb_writes_all_three_files(tmp_path: Path) -> None:
    for package in ("onnxruntime", "openvino", "matplotlib"):
        pytest.importorskip(package)
    bundle = toys.write_bundle(tmp_path / "toy.edgeseg")
    quick = ["--frames", "4", "--rounds", "1", "--warmup", "1", "--threads", "1", "--json"]
    # Small kernels: what the verb does is tested here, and not how fast this machine is.
    arguments = ["edgeseg", "benchmark-roofline", str(bundle), *quick, "--out", str(tmp_path / "out")]
    code = (
        "import sys; from edgeseg.benchmarks import peaks; from edgeseg.cli import main; "
        "peaks._CHANNELS, peaks._SIDE, peaks._ORDER = 16, 8, 32; "
        "peaks._SMALLEST_ARRAY, peaks._CACHES = 1 << 16, 0; "
        f"sys.argv = {arguments!r}; main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    written = json.loads(ran.stdout)
    assert written == json.loads((tmp_path / "out/roofline.json").read_text())
    # The toy multiplies each of 32 × 64 pixels of 3 channels by a 3 × 3 matrix.
    [model] = written["models"]
    assert (model["macs"], model["bytes"]) == (32 * 64 * 9, 4 * (2 * 32 * 64 * 3 + 9))
    assert (tmp_path / "out/roofline.png").stat().st_size > 10_000
    assert "# Roofline" in (tmp_path / "out/roofline.md").read_text()
