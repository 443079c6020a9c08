"""Engines on the fake TensorRT: built, tested, kept, found again, and thrown away."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeseg.bundle import Bundle
from edgeseg.errors import EngineBuildError, GoldenMismatchError, OutputError
from edgeseg.runtimes.tensorrt.cuda import CudaError
from edgeseg.runtimes.tensorrt.memory import GIB, MIB
from fake_tensorrt import ORIN_NANO, RTX_CARD, ParserError, Rig

ILLEGAL_ADDRESS = CudaError("cudaErrorIllegalAddress", "an illegal memory access was encountered")
NOT_CAPTURED = CudaError(
    "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"
)
NO_MEMORY = CudaError("cudaErrorMemoryAllocation", "out of memory")


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (32, 64, 3)).astype(np.uint8)


# The cache.


def test_an_engine_is_built_once_and_outside_the_bundle(rig: Rig, image: np.ndarray) -> None:
    first = rig.prepare()
    assert first.built
    assert first.path.parent == rig.cache
    assert sorted(file.name for file in first.path.iterdir()) == ["engine.json", "model.engine"]
    Bundle.open(rig.path)  # still the closed set of files that it was
    rig.restart()
    second = rig.prepare()
    assert (second.built, second.path, rig.builds) == (False, first.path, 0)
    np.testing.assert_array_equal(second.model.infer(image).mask, image.argmax(-1))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "10.7.0"},
        {"flavour": "tensorrt_rtx"},
        {"gpu": RTX_CARD},
        {"gpu": SimpleNamespace(**{**vars(ORIN_NANO), "multiprocessors": 16})},
    ],
    ids=["version", "flavour", "gpu", "multiprocessors"],
)
def test_another_device_or_tensorrt_builds_its_own(rig: Rig, changes: dict[str, Any]) -> None:
    path = rig.prepare().path
    rig.restart(**changes)
    again = rig.prepare()
    assert again.built
    assert again.path != path


def test_another_l4t_builds_its_own(rig: Rig) -> None:
    path = rig.prepare().path
    release = rig.root / "etc/nv_tegra_release"
    release.parent.mkdir(parents=True)
    release.write_text("# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic\n")
    again = rig.prepare()
    assert again.built
    assert again.path != path
    assert json.loads((again.path / "engine.json").read_text())["key"]["l4t"] == "R36.4.3"


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def _to_link(file: Path) -> None:
    other = file.with_name("elsewhere")
    file.rename(other)
    file.symlink_to(other)


def _other_key(file: Path) -> None:
    sidecar = json.loads((file.parent / "engine.json").read_text())
    sidecar["key"]["gpu"] = "another"
    (file.parent / "engine.json").write_text(json.dumps(sidecar))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_flip, "its hash is another"),
        (lambda file: file.write_bytes(b""), "its hash is another"),
        (lambda file: file.unlink(), "cannot be read"),
        (_to_link, "cannot be read"),
        (lambda file: (file.parent / "engine.json").write_text("{"), "cannot be read"),
        (lambda file: (file.parent / "engine.json").write_text("[]"), "of another kind"),
        (_other_key, "of another model"),
    ],
    ids=["flipped", "emptied", "gone", "link", "half a sidecar", "no sidecar", "key"],
)
def test_a_damaged_engine_is_built_again(
    rig: Rig, damage: Callable[[Path], Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage(rig.prepare().path / "model.engine")
    rig.restart()
    again = rig.prepare()
    assert again.built
    assert said in caplog.text
    rig.restart()
    assert not rig.prepare().built


def test_an_engine_that_does_not_load_is_built_again(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.prepare()
    rig.restart()
    rig.trt.mark = b"NEWER"
    assert rig.prepare().built
    assert "version tag does not match" in caplog.text


def test_an_engine_with_other_masks_is_not_kept(rig: Rig) -> None:
    rig.trt.wrong_masks = True
    with pytest.raises(GoldenMismatchError, match=r"tensorrt 10\.3\.0 on Orin"):
        rig.prepare()
    assert not list(rig.cache.iterdir())
    assert not rig.cuda.held


def test_a_rebuild_that_fails_its_test_leaves_the_old_engine(rig: Rig) -> None:
    rig.prepare()
    rig.restart()
    rig.trt.wrong_masks = True
    with pytest.raises(GoldenMismatchError):
        rig.prepare(rebuild=True)
    rig.restart()
    assert not rig.prepare().built


def test_a_rebuild_is_one(rig: Rig) -> None:
    path = rig.prepare().path
    rig.restart()
    again = rig.prepare(rebuild=True)
    assert (again.built, again.path, rig.builds) == (True, path, 1)


def test_the_log_says_that_it_builds_and_how_long_it_took(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        rig.prepare()
    assert "no engine has been built" in caplog.text
    assert "built in 0." in caplog.text


def test_a_cache_that_cannot_be_written_is_said_before_the_build(rig: Rig) -> None:
    rig.cache.write_text("a file")
    with pytest.raises(OutputError):
        rig.prepare()
    assert rig.builds == 0


def test_a_draft_without_golden_frames_runs_and_is_not_kept(rig: Rig, image: np.ndarray) -> None:
    members = {name: data for name, data in rig.bundle.members.items() if name != "golden.npz"}
    draft = Bundle(rig.bundle.path, rig.bundle.manifest, rig.bundle.labels, members)
    prepared = rig.runtime.prepare(draft, rig.model)
    assert prepared.path is None
    assert not rig.cache.exists()
    np.testing.assert_array_equal(prepared.model.infer(image).mask, image.argmax(-1))


def test_only_the_owner_may_put_engines_there(rig: Rig) -> None:
    rig.prepare()
    assert rig.cache.stat().st_mode & 0o077 == 0


# Building.


def test_the_network_is_strongly_typed_where_there_is_another_kind(rig: Rig) -> None:
    rig.prepare()
    assert rig.trt.network_flags == 1 << 1
    rig.trt.module.NetworkDefinitionCreationFlag = object
    rig.prepare(rebuild=True)
    assert rig.trt.network_flags == 0


def test_timings_serve_the_next_build_on_the_device(rig: Rig) -> None:
    rig.prepare()
    rig.prepare(rebuild=True)
    rig.prepare(rebuild=True)
    assert rig.trt.timing_caches == [b"", b"+timed", b"+timed+timed"]


def test_timings_that_are_damaged_or_refused_are_begun_anew(rig: Rig) -> None:
    rig.prepare()
    _flip(next(rig.cache.glob("timings-*")))
    rig.prepare(rebuild=True)
    assert rig.trt.timing_caches == [b"", b""]
    rig.trt.refused_timings = [b"+timed"]
    rig.prepare(rebuild=True)
    assert rig.trt.timing_caches[2:] == [b"+timed", b""]


def test_rtx_has_no_timings(rig: Rig) -> None:
    rig.restart(flavour="tensorrt_rtx", version="1.7.1")
    rig.prepare()
    assert not rig.trt.timing_caches
    assert not list(rig.cache.glob("timings-*"))


def test_a_small_board_is_given_one_gigabyte_and_less_while_memory_is_short(rig: Rig) -> None:
    rig.trt.memory_for_build = 200 * MIB
    rig.prepare()
    assert rig.trt.workspaces == [GIB, GIB // 2, GIB // 4, GIB // 8]


def test_a_large_card_is_given_more(rig: Rig) -> None:
    rig.restart(gpu=RTX_CARD)
    rig.cuda._free = 20 * GIB
    rig.prepare()
    assert rig.trt.workspaces == [4 * GIB]


def test_memory_that_never_suffices_says_what_to_do(rig: Rig) -> None:
    rig.trt.memory_for_build = 0
    with pytest.raises(EngineBuildError, match=r"OutOfMemory.*end the desktop.*swap") as caught:
        rig.prepare()
    assert caught.value.exit_code == 4
    assert rig.trt.workspaces[-1] == 64 * MIB


def test_too_little_memory_is_said_before_anything_is_tried(rig: Rig) -> None:
    rig.cuda._free = 300 * MIB
    with pytest.raises(EngineBuildError, match=r"0\.6 GiB of free memory.*0\.3 GiB available"):
        rig.prepare()
    assert rig.builds == 0


@pytest.mark.parametrize(("gpu", "workspace"), [(ORIN_NANO, GIB), (RTX_CARD, None)], ids=["shared", "own"])
def test_what_linux_could_free_counts_where_memory_is_shared(
    rig: Rig, gpu: Any, workspace: int | None
) -> None:
    meminfo = rig.root / "proc/meminfo"
    meminfo.parent.mkdir(parents=True)
    meminfo.write_text("MemTotal: 7800000 kB\nMemFree: 200000 kB\nMemAvailable: 5000000 kB\n")
    rig.restart(gpu=gpu)
    rig.cuda._free = 300 * MIB
    if workspace is None:
        with pytest.raises(EngineBuildError, match="available"):
            rig.prepare()
    else:
        rig.prepare()
        assert rig.trt.workspaces == [workspace]


def test_a_failure_that_less_memory_does_not_mend_is_not_tried_again(rig: Rig) -> None:
    rig.trt.build_error = "Error Code 10: Internal Error (Could not find any implementation for node up1)"
    with pytest.raises(EngineBuildError, match="implementation for node up1"):
        rig.prepare()
    assert rig.builds == 1


def test_every_parser_error_names_node_and_operation(rig: Rig) -> None:
    rig.trt.parser_errors = [
        ParserError("no importer", "up1", "GridSample", 7),
        ParserError("bad\n shape", "", "Resize", 9),
        *[ParserError("more", f"n{index}", "Conv") for index in range(4)],
    ]
    with pytest.raises(EngineBuildError) as caught:
        rig.prepare()
    text = str(caught.value)
    assert "node 'up1' (GridSample): no importer; node 9 (Resize): bad shape; " in text
    assert "and 1 more" in text
    assert "tensorrt 10.3.0" in text
