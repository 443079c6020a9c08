from __future__ import annotations

from pathlib import Path

import pytest

import toys
from edgeseg.benchmarks.latency import Options
from edgeseg.benchmarks.litert_files import measure_files
from edgeseg.errors import BundleError


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    made = {}
    for name, size in (("large", 256), ("small", 8)):
        made[name] = tmp_path / f"{name}.tflite"
        made[name].write_bytes(toys.tflite_model(size, size))
    return made


def test_the_larger_one_takes_longer(files: dict[str, Path]) -> None:
    seen: list[tuple[int, int]] = []
    options = Options(frames=40, rounds=4, warmup=2, threads=1)
    times = measure_files(files, options, lambda done, total: seen.append((done, total)))
    assert list(times) == ["large", "small"]
    assert times["large"].p50 > times["small"].p50 > 0
    assert seen == [(done, 80) for done in range(10, 81, 10)]


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"nothing")
    with pytest.raises(BundleError, match=r"broken\.tflite"):
        measure_files({"broken": path}, Options(frames=1))
