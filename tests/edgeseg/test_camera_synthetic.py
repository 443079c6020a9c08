"""The drawn camera, with a clock of its own: what it shows, when, and its faults."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg.camera import FrozenCheck, SyntheticCamera, ViewCheck, Wanted, is_live, open_source, with_start
from edgeseg.camera.base import READ_TIMEOUT_S
from edgeseg.camera.faults import FAULTS, parse_fault
from edgeseg.camera.opening import OPENERS
from edgeseg.camera.synthetic import parse
from edgeseg.errors import CorruptFrameError, SourceError

START_NS = 5_000_000_000_000


class Clock:
    """Stands still except while somebody sleeps."""

    def __init__(self) -> None:
        self.ns = START_NS

    def now_ns(self) -> int:
        return self.ns

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.ns += round(seconds * 1e9)

    @property
    def seconds(self) -> float:
        return (self.ns - START_NS) / 1e9


def camera(query: str, clock: Clock | None = None, head: str = "64x48@10") -> SyntheticCamera:
    clock = clock or Clock()
    options = parse(f"synthetic://{head}?{query}", Wanted())
    return SyntheticCamera(options, now_ns=clock.now_ns, sleep=clock.sleep)


def played(query: str) -> list[tuple[Any, float]]:
    """What each read gave, the sequence or the error's name, and when, up to the end or a broken source."""
    clock = Clock()
    source, given = camera(query, clock), []
    while True:
        try:
            frame = source.read()
        except CorruptFrameError:
            given.append(("corrupt", round(clock.seconds, 2)))
        except SourceError:
            return [*given, ("broken", round(clock.seconds, 2))]
        else:
            if frame is None:
                return given
            given.append((frame.sequence, round(clock.seconds, 2)))


def test_frames_come_at_their_time_with_numbers_and_stamps() -> None:
    clock = Clock()
    source = camera("frames=3", clock)
    frames = list(iter(source.read, None))
    assert [(f.index, f.sequence, f.clock) for f in frames] == [(n, n, "driver") for n in range(3)]
    assert [f.captured_ns - START_NS for f in frames] == [0, 100_000_000, 200_000_000]
    assert clock.seconds == pytest.approx(0.2, abs=0.001)
    assert (source.live, source.fps, source.frame_size, source.frame_count) == (True, 10, (48, 64), 3)
    assert all(f.image.shape == (48, 64, 3) and f.image.dtype == np.uint8 for f in frames)


def test_the_seed_and_the_number_decide_the_pixels() -> None:
    first, again = ([f.image for f in iter(camera("frames=4&seed=7").read, None)] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = next(iter(camera("frames=4&seed=8").read, None))
    assert (other.image != first[0]).mean() > 0.3
    assert all((a != b).any() for a, b in pairwise(first))


def test_a_late_reader_gets_the_newest_and_sees_the_gap() -> None:
    clock = Clock()
    source = camera("", clock)
    source.read()
    clock.sleep(0.55)
    frame = source.read()
    assert frame is not None
    assert (frame.index, frame.sequence) == (1, 5)
    assert source.skip()


SCRIPTS = {
    "stall": [(0, 0), (1, 0.1), (5, 0.5), (6, 0.6), (7, 0.7)],
    "none": [(0, 0), (1, 0.1), (5, 0.5), (6, 0.6), (7, 0.7)],
    "block": [(0, 0), (1, 0.1), (5, 0.5), (6, 0.6), (7, 0.7)],
    "same": [(0, 0), (1, 0.1), (1, 0.2), (1, 0.3), (1, 0.4), (5, 0.5), (6, 0.6), (7, 0.7)],
    "burst": [(0, 0), (1, 0.1), (2, 0.5), (3, 0.5), (4, 0.5), (5, 0.5), (6, 0.6), (7, 0.7)],
    "corrupt": [(0, 0), (1, 0.1), *(("corrupt", t) for t in (0.2, 0.3, 0.4)), (5, 0.5), (6, 0.6), (7, 0.7)],
    "unplug": [(0, 0), (1, 0.1), ("broken", 0.2)],
    "reorder": [(0, 0), (1, 0.1), (3, 0.3), (2, 0.3), (5, 0.5), (6, 0.6), (7, 0.7)],
    "wrap": [(2**32 - 2, 0), (2**32 - 1, 0.1), *((n, n / 10 + 0.2) for n in range(6))],
    "duplicate": [(0, 0), (1, 0.1), (2, 0.2), (2, 0.2), (3, 0.3), (3, 0.3), (4, 0.4), (4, 0.4), (5, 0.5),
                  (6, 0.6), (7, 0.7)],
}  # fmt: skip


@pytest.mark.parametrize("kind", SCRIPTS)
def test_faults_of_time_and_order(kind: str) -> None:
    given = played(f"frames=8&fault={kind}@0.2+0.3")
    assert [what for what, _ in given] == [what for what, _ in SCRIPTS[kind]]
    assert [at for _, at in given] == pytest.approx([at for _, at in SCRIPTS[kind]], abs=0.011)


def test_every_fault_is_tested_here_or_below() -> None:
    assert FAULTS.keys() == SCRIPTS.keys() | {"freeze", "black", "white", "covered", "resize"}


def test_reading_gives_up_on_a_long_stall_but_not_out_of_a_block() -> None:
    assert played("fault=stall@0.05+60") == [(0, 0), ("broken", READ_TIMEOUT_S)]
    assert played("fault=none@0") == [("broken", READ_TIMEOUT_S)]
    assert played("frames=201&fault=block@0.05+20") == [(0, 0), (200, 20.05)]


def test_frozen_pixels_have_new_stamps() -> None:
    check = FrozenCheck(150)
    frames = list(iter(camera("frames=8&fault=freeze@0.2+0.4").read, None))
    assert [f.sequence for f in frames] == list(range(8))
    assert [check.see(f.image, f.captured_ns) for f in frames] == [False] * 5 + [True, False, False]


def test_the_same_buffer_has_the_same_stamp() -> None:
    frames = list(iter(camera("frames=4&fault=same@0.2+0.1").read, None))
    assert frames[1] is frames[2]


@pytest.mark.parametrize(
    ("kind", "word"), [("black", "black"), ("white", "saturated"), ("covered", "covered")]
)
def test_a_lens_that_shows_nothing(kind: str, word: str) -> None:
    frames = list(iter(camera(f"frames=6&fault={kind}@0.2+0.2", head="320x180@10").read, None))
    assert [ViewCheck().see(f.image) for f in frames] == ["", "", word, word, "", ""]
    frozen = FrozenCheck(50)
    assert not any(frozen.see(f.image, f.captured_ns) for f in frames)


def test_frames_of_another_size() -> None:
    shapes = [f.image.shape for f in iter(camera("frames=3&fault=resize@0.1+0.1").read, None)]
    assert shapes == [(48, 64, 3), (24, 32, 3), (48, 64, 3)]


def test_an_unplugged_camera_opens_again_when_the_fault_ends() -> None:
    clock = Clock()
    query = f"fault=unplug@1+2&t0={START_NS}"
    source = camera(query, clock)
    with pytest.raises(SourceError, match="unplugged"):
        list(iter(source.read, None))
    clock.sleep(1)
    with pytest.raises(SourceError, match="unplugged"):
        camera(query, clock)
    clock.sleep(1.5)
    with pytest.raises(SourceError, match="unplugged"):
        source.read()
    frame = camera(query, clock).read()
    assert frame is not None
    assert frame.sequence == 0
    assert 3.5 <= (frame.captured_ns - START_NS) / 1e9 <= 3.61


def test_several_faults() -> None:
    given = [
        what for what, _ in played("frames=6&fault=corrupt@0.1+0.1&fault=corrupt@0.3+0.1&fault=unplug@0.5")
    ]
    assert given == [0, "corrupt", 2, "corrupt", 4, "broken"]


def test_the_guide_names_every_fault_and_kind_of_address(project_root: Path) -> None:
    guide = (project_root / "docs" / "loop.md").read_text()
    for kind, what in FAULTS.items():
        assert f"| `{kind}` | {what} |" in guide
    for scheme in OPENERS:
        assert re.search(rf"`{scheme}\b", guide), scheme


# Addresses.


def test_what_the_address_leaves_open_is_as_wanted() -> None:
    assert parse("synthetic://", Wanted()).size == (720, 1280)
    options = parse("synthetic://", Wanted(size=(100, 200), fps=7))
    assert (options.size, options.fps) == ((100, 200), 7)
    options = parse("synthetic://64x48@12.5?seed=3&frames=9", Wanted(size=(100, 200), fps=7))
    assert (options.size, options.fps, options.seed, options.frames) == ((48, 64), 12.5, 3, 9)


def test_opened_by_its_address() -> None:
    source = open_source("synthetic://64x48@200?frames=3")
    assert isinstance(source, SyntheticCamera)
    assert is_live("synthetic://64x48")
    assert source.name == "synthetic://64x48@200"
    assert source.read() is not None


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("synthetic://wide", "WIDTHxHEIGHT"),
        ("synthetic://64x48@0", "@FPS"),
        ("synthetic://?frames=many", "whole number"),
        ("synthetic://?speed=3", "speed=3"),
        ("synthetic://?fault=flood@3", "KIND of stall, block"),
        ("synthetic://?fault=stall", r"KIND@SECONDS"),
    ],
)
def test_malformed_addresses(address: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        open_source(address)


def test_the_start_is_added_once() -> None:
    assert with_start("synthetic://", 5) == "synthetic://?t0=5"
    assert with_start("synthetic://?seed=1", 5) == "synthetic://?seed=1&t0=5"
    assert with_start("synthetic://?t0=4", 5) == "synthetic://?t0=4"
    assert with_start("/dev/video0", 5) == "/dev/video0"


def test_a_fault_lasts_a_second_unless_it_says() -> None:
    assert (parse_fault("stall@2").end, parse_fault("stall@2+0.5").end) == (3, 2.5)
