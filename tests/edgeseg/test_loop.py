"""The loop on files that wait: every frame counts, each mask is its frame's, and every end is clean."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeseg
from edgeseg.errors import BundleError, InferenceError, SinkError, SourceError, UsageError
from edgeseg.loop import Budgets, LoopPlan, LoopReport, run_loop
from loop_faults import LOAD
from loop_parts import SINKS, SOURCE, Told, frames_of
from toys import write_bundle, write_video

DEADLINE_MS = 50.0

Run = Callable[..., LoopReport]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "toy.edgeseg")


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "drive.mp4")


@pytest.fixture
def run(toy: Path, drive: Path) -> Run:
    """``run(*sinks, source="?…", model="?…", …)``: every frame of the drive, with the parts of the tests."""

    def go(*sinks: str, source: str = "", model: str = "", **options: Any) -> LoopReport:
        plan = LoopPlan(
            f"{toy}{model}",
            f"{drive}{source}",
            sinks,
            **{"every_frame": True, "parts": (SOURCE, LOAD, SINKS), **options},
        )
        return run_loop(plan)

    return go


def balances(report: LoopReport) -> bool:
    ledger = report.ledger
    fates = ledger.inferred + ledger.overwritten + ledger.stale + ledger.failed + ledger.unusable
    return ledger.captured == fates + ledger.in_flight and 0 <= ledger.in_flight <= 4


class EveryFrame:
    """One run of the whole drive, with a slow model, a sink that keeps all and one that is slow."""

    def __init__(self, toy: Path, drive: Path, folder: Path) -> None:
        plan = LoopPlan(
            f"{toy}?sleep=0.01",
            str(drive),
            (f"{folder / 'all'}?pictures=1", f"{folder / 'slow'}?sleep=0.06"),
            every_frame=True,
            budgets=Budgets(deadline_ms=DEADLINE_MS),
            parts=(SOURCE, LOAD, SINKS),
        )
        self.report = run_loop(plan)
        self.folder = folder
        self.all, self.slow = Told(folder / "all"), Told(folder / "slow")


@pytest.fixture(scope="module")
def whole(toy: Path, drive: Path, tmp_path_factory: pytest.TempPathFactory) -> EveryFrame:
    return EveryFrame(toy, drive, tmp_path_factory.mktemp("sinks"))


def test_every_frame_is_segmented_in_order_however_slow_model_and_sink_are(whole: EveryFrame) -> None:
    report, ledger = whole.report, whole.report.ledger
    assert whole.all.positions == whole.slow.positions == list(range(30))
    assert [mask["sequence"] for mask in whole.all.masks] == list(range(1, 31))
    assert (report.ended, report.error, report.mode) == ("end of stream", None, "every-frame")
    assert ledger.captured == ledger.inferred == 30
    assert [sink.written for sink in report.sinks] == [30, 30]
    assert ledger.overwritten == ledger.stale == ledger.in_flight == 0
    assert report.max_overdue_ms is None
    assert whole.all.finished == whole.slow.finished == 30
    assert whole.all.closed
    assert whole.slow.closed


def test_masks_are_those_of_their_frames(whole: EveryFrame, toy: Path, drive: Path) -> None:
    frames = frames_of(drive)
    assert len({frame.tobytes() for frame in frames}) == 30, "frames that are alike would prove nothing"
    with edgeseg.load(toy) as segmenter:
        for position, frame in enumerate(frames):
            kept = np.load(whole.folder / "all" / f"{position}.npz")
            np.testing.assert_array_equal(kept["frame"], frame)
            np.testing.assert_array_equal(kept["mask"], segmenter(frame).mask)


def test_masks_that_grow_too_old_on_the_way_to_a_sink_are_late_there(whole: EveryFrame) -> None:
    for told, sink in zip((whole.all, whole.slow), whole.report.sinks, strict=True):
        for mask in told.masks:
            assert mask["given_age_ms"] >= mask["mask_age_ms"] >= mask["timings"]["total_ms"] >= 10
            assert mask["valid"] == (mask["given_age_ms"] <= DEADLINE_MS)
            assert mask["late"] == (not mask["valid"])
        assert sink.late == sum(not mask["valid"] for mask in told.masks)
        assert sink.age.count == 30
        assert sink.age.max == max(mask["given_age_ms"] for mask in told.masks)
    # Two masks wait for the slow one, 60 ms each; the model needs a fraction of that.
    assert whole.report.sinks[1].late > 20


def test_the_report_as_json(whole: EveryFrame, toy: Path) -> None:
    values = json.loads(whole.report.to_json())
    assert values["frames"]["inferred"] == 30
    assert values["frame_size"] == [64, 128]
    assert set(values["stages_ms"]) == {"decode", "wait", "resize", "infer", "post", "publish"}
    assert all(stage["count"] == 30 for stage in values["stages_ms"].values())
    assert values["age_ms"]["max"] >= values["age_ms"]["p50"] > 0
    assert values["stages_ms"]["infer"]["p50"] >= 10
    with edgeseg.load(toy) as segmenter:
        assert values["digest"] == segmenter.bundle.digest
    assert [sink["output"] for sink in values["sinks"]] == [str(whole.folder / n) for n in ("all", "slow")]
    assert values["changes"][-1][1:] == ["STOPPING", "the source has ended"]
    assert values["restarts"] == {}
    assert values["collections"] == 0


def test_the_end_of_a_file_takes_nothing_from_its_last_masks(run: Run, tmp_path: Path) -> None:
    """The source has long ended when they are made."""
    report = run(str(tmp_path / "sink"), source="?ends=5", model="?sleep=0.2")
    told = Told(tmp_path / "sink")
    assert told.positions == list(range(5))
    assert [mask["valid"] for mask in told.masks] == [True] * 5
    assert report.ended == "end of stream"


# What cannot go on.


def test_a_file_that_breaks_is_segmented_to_where_it_broke(run: Run, tmp_path: Path) -> None:
    report = run(str(tmp_path / "sink"), source="?fails=7", model="?sleep=0.05")
    told = Told(tmp_path / "sink")
    assert report.ended == "failed"
    assert isinstance(report.error, SourceError)
    assert "a torn file" in str(report.error)
    assert told.positions == list(range(7))
    assert told.finished == 7
    assert told.closed
    assert report.restarts == {}


def test_what_a_decoder_throws_is_reported(run: Run, tmp_path: Path) -> None:
    report = run(str(tmp_path / "sink"), source="?raises=3")
    assert isinstance(report.error, SourceError)
    assert "RuntimeError: ioctl" in str(report.error)
    assert Told(tmp_path / "sink").closed
    assert balances(report)


def test_the_loop_ends_when_nobody_takes_its_masks_any_more(run: Run, tmp_path: Path, drive: Path) -> None:
    report = run(
        f"{tmp_path / 'first'}?fails=3",
        f"{tmp_path / 'last'}?fails=6",
        source="?decode=0.1",
        model="?sleep=0.1",
    )
    first, last = report.sinks
    assert (first.written, last.written) == (3, 6), "the other sink goes on"
    assert isinstance(report.error, SinkError)
    assert report.error.exit_code == 7
    assert isinstance(first.error, SinkError)
    assert isinstance(last.error, SinkError)
    assert 6 <= report.ledger.captured < 30
    assert Told(tmp_path / "last").closed
    assert balances(report)


def test_a_model_that_always_fails_ends_the_loop(run: Run, tmp_path: Path) -> None:
    report = run(str(tmp_path / "sink"), model="?fault=raise@1x1000")
    assert isinstance(report.error, InferenceError)
    assert report.error.exit_code == 9
    assert report.ended == "failed"
    assert (report.ledger.inferred, report.fps, report.seconds) == (0, 0, 0)
    assert report.ledger.failed >= 3
    assert report.restarts["inference"] == 2, "it was given two more chances"
    told = Told(tmp_path / "sink")
    assert (told.masks, told.closed) == ([], True)
    assert balances(report)


def test_a_source_with_nothing_in_it(run: Run, tmp_path: Path) -> None:
    report = run(str(tmp_path / "sink"), source="?ends=0")
    assert (report.ledger.captured, report.seconds, report.ended) == (0, 0, "end of stream")
    told = Told(tmp_path / "sink")
    assert (told.masks, told.finished, told.closed) == ([], 0, True)


# What is refused before anything is made.


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"source": "missing.mp4"}, SourceError, "missing.mp4"),
        ({"source": "synthetic://64x32@10"}, UsageError, "--every-frame"),
        ({"bundle": "missing.edgeseg"}, BundleError, "missing.edgeseg"),
        ({"runtime": "coreml"}, UsageError, "coreml"),
        ({"sinks": ("OUT/a.mp4", "OUT/b.avi")}, SinkError, "b.avi"),
    ],
)
def test_what_cannot_be_opened_is_refused_and_nothing_is_made(
    toy: Path, drive: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], said: str
) -> None:
    out = tmp_path / "out"
    given = {
        "bundle": str(toy),
        "source": str(drive),
        "sinks": ("OUT/a.mp4",),
        "every_frame": True,
        **changes,
    }
    given["sinks"] = tuple(text.replace("OUT", str(out)) for text in given["sinks"])
    told: list[Any] = []
    with pytest.raises(error, match=said):
        run_loop(LoopPlan(**given), on_status=told.append, on_event=told.append)
    assert not [*out.rglob("*.mp4")]
    assert told == []
