"""A camera that is not there: ``synthetic://[WxH][@FPS][?frames=N&seed=S&fault=KIND@SECONDS[+DURATION]&…]``."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NoReturn
from urllib.parse import unquote

from edgeseg.camera.base import READ_TIMEOUT_S, Frame, Wanted
from edgeseg.camera.faults import Fault, parse_fault
from edgeseg.camera.scene import StreetScene
from edgeseg.errors import CorruptFrameError, SourceError
from edgeseg.resize import Image

SCHEME = "synthetic"
_BLANK_LEVELS = {"black": 0, "covered": 70, "white": 252}
_SILENT = ("stall", "none")


@dataclass(frozen=True)
class Options:
    """What an address of a synthetic camera says.

    Args:
        size: (height, width) in pixels.
        fps: Frames a second.
        frames: How many there are, counted from the first opening; ``None`` for endless.
        seed: Of everything that is drawn.
        faults: What goes wrong, and when.
        t0_ns: When it was first opened, on the clock of :func:`time.monotonic_ns`; ``None`` for now.
    """

    size: tuple[int, int] = (720, 1280)
    fps: float = 30.0
    frames: int | None = None
    seed: int = 0
    faults: tuple[Fault, ...] = ()
    t0_ns: int | None = None


class SyntheticCamera:
    """Draws a moving street at its own pace, as a live camera that numbers and stamps its frames.

    A reader that is late gets the newest frame, and the gap shows in the sequence. Faults happen at seconds
    since the first opening, which ``t0`` carries over to later ones. There the scene goes on, and the
    sequence begins at 0 again.

    Args:
        options: See :func:`parse`.
        now_ns, sleep: Its clock and how it waits; tests pass their own.

    Raises:
        SourceError: It is unplugged at this moment.
    """

    live = True
    format = "drawn"

    def __init__(
        self,
        options: Options,
        *,
        now_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        height, width = options.size
        self.name = f"{SCHEME}://{width}x{height}@{options.fps:g}"
        self.fps, self.frame_size, self.frame_count = options.fps, options.size, options.frames
        self._faults = options.faults
        self._now_ns, self._sleep = now_ns, sleep
        self._scene = StreetScene(height, width, options.seed, options.fps)
        self._t0_ns = now_ns() if options.t0_ns is None else options.t0_ns
        # Exactly 0 at the first opening, so that its first frame is number 0.
        self._opened = 0.0 if options.t0_ns is None else self._seconds()
        if self._fault("unplug", self._opened):
            self._refuse("no camera: it is unplugged", "Plug it in; the fault ends by itself.")
        # On opening anew the frames go on, but numbers begin at 0, as those of a camera would.
        self._next = max(0, -int(-self._opened * self.fps // 1))
        self._sequence_start = self._first_sequence()
        self._backlog: deque[int] = deque()
        self._fresh: deque[int] = deque()
        self._held: list[int] = []
        self._overtaken: int | None = None
        self._frame: Frame | None = None
        self._taken = 0

    def read(self) -> Frame | None:
        """The newest frame; waits for it, and ``None`` after the last."""
        number = self._wait()
        if number is None:
            return None
        self._taken += 1
        if self._frame_fault("corrupt", number):
            raise CorruptFrameError(
                self.name,
                expected="a frame that decodes",
                found=f"a scripted fault in frame {number}",
                next_step="Read the next frame.",
            )
        if self._frame and self._frame_fault("same", number):
            return self._frame
        started = time.perf_counter()
        image = self._draw(number)
        self._frame = Frame(
            image,
            self._taken - 1,
            captured_ns=self._t0_ns + round(number / self.fps * 1e9),
            decode_ms=(time.perf_counter() - started) * 1e3,
            clock="driver",
            sequence=(number - self._sequence_start) % 2**32,
        )
        return self._frame

    def skip(self) -> bool:
        there = self._wait() is not None
        self._taken += there
        return there

    def close(self) -> None:
        """There is nothing to release."""

    def _wait(self) -> int | None:
        """The number of the frame to hand out, when its time has come."""
        began = self._seconds()
        while True:
            now = self._seconds()
            if any(f.kind == "unplug" and self._opened < f.start <= now for f in self._faults):
                self._refuse("it was unplugged", "Plug it in and open it again.")
            if blocked := self._fault("block", now):
                self._sleep(blocked.end - now)
                continue
            self._collect(now)
            if ready := self._backlog or self._fresh:
                return ready.popleft()
            if self.frame_count is not None and self._next >= self.frame_count and not self._held:
                return None
            left = began + READ_TIMEOUT_S - now
            if left <= 0:
                self._refuse(f"none within {READ_TIMEOUT_S:g} s", "Check the camera and its cable.")
            self._sleep(min(left, max(self._next_event(now) - now, 1e-4)))

    def _next_event(self, now: float) -> float:
        times = [fault.end for fault in self._faults if fault.holds_at(now)]
        return min([*times, self._next / self.fps])

    def _collect(self, now: float) -> None:
        """Sort every frame that was taken by ``now`` into what a reader gets of it."""
        last = float("inf") if self.frame_count is None else self.frame_count
        while self._next < last and (seconds := self._next / self.fps) <= now:
            number, self._next = self._next, self._next + 1
            if any(self._fault(kind, seconds) for kind in _SILENT):
                continue
            if self._fault("burst", seconds):
                self._held.append(number)
                continue
            # Newest wins: what was not fetched in time is overwritten.
            self._fresh = deque(self._order(number, seconds))
        if self._held and not self._fault("burst", now):
            self._backlog.extend(self._held)
            self._held.clear()

    def _order(self, number: int, seconds: float) -> list[int]:
        if self._fault("reorder", seconds):
            if self._overtaken is None:
                self._overtaken = number
                return []
            overtaken, self._overtaken = self._overtaken, None
            return [number, overtaken]
        self._overtaken = None
        return [number] * (2 if self._fault("duplicate", seconds) else 1)

    def _draw(self, number: int) -> Image:
        if frozen := self._frame_fault("freeze", number):
            return self._scene.draw(-int(-frozen.start * self.fps // 1))
        for kind, level in _BLANK_LEVELS.items():
            if self._frame_fault(kind, number):
                return self._scene.draw_blank(level, number)
        image = self._scene.draw(number)
        return image[::2, ::2].copy() if self._frame_fault("resize", number) else image

    def _first_sequence(self) -> int:
        """The frame number that has the sequence number 0."""
        wraps = [fault.start for fault in self._faults if fault.kind == "wrap" and fault.start > self._opened]
        return round(wraps[0] * self.fps) if wraps else self._next

    def _seconds(self) -> float:
        return (self._now_ns() - self._t0_ns) / 1e9

    def _fault(self, kind: str, seconds: float) -> Fault | None:
        return next((f for f in self._faults if f.kind == kind and f.holds_at(seconds)), None)

    def _frame_fault(self, kind: str, number: int) -> Fault | None:
        return self._fault(kind, number / self.fps)

    def _refuse(self, found: str, next_step: str) -> NoReturn:
        raise SourceError(self.name, expected="frames from the camera", found=found, next_step=next_step)


def parse(address: str, wanted: Wanted) -> Options:
    """Read an address; ``wanted`` holds where it says nothing.

    Raises:
        SourceError: It is not written as it should be.
    """
    head, _, query = address.partition("://")[2].partition("?")
    parts = re.fullmatch(r"(?:(\d{2,4})x(\d{2,4}))?(?:@(\d+(?:\.\d+)?))?", head)
    if parts is None or (parts[3] and not 0.01 <= float(parts[3]) <= 10_000):
        raise _malformed(head, f"{SCHEME}://[WIDTHxHEIGHT][@FPS], for instance {SCHEME}://1280x720@30")
    options = Options()
    size = (int(parts[2]), int(parts[1])) if parts[1] else wanted.size or options.size
    fps = float(parts[3]) if parts[3] else wanted.fps or options.fps
    options = replace(options, size=size, fps=fps)
    for item in filter(None, query.split("&")):
        options = _with_item(options, *(unquote(part) for part in item.partition("=")[::2]))
    return options


def with_start(address: str, now_ns: int) -> str:
    """The address with ``now_ns`` as the time of its first opening, if it is synthetic and names none.

    Whoever opens a source again and again passes it on, so that faults go on where they were.
    """
    if not address.lower().startswith(f"{SCHEME}://") or "t0=" in address:
        return address
    return f"{address}{'&' if '?' in address else '?'}t0={now_ns}"


def _with_item(options: Options, key: str, value: str) -> Options:
    if key == "fault":
        try:
            return replace(options, faults=(*options.faults, parse_fault(value)))
        except ValueError as error:
            raise _malformed(f"fault={value}", f"fault={error}") from error
    fields = {"frames": "frames", "seed": "seed", "t0": "t0_ns"}
    if key not in fields or not re.fullmatch(r"\d{1,19}", value):
        raise _malformed(f"{key}={value}", f"{', '.join(fields)} with a whole number, or fault")
    return replace(options, **{fields[key]: int(value)})  # type: ignore[arg-type]


def _malformed(found: str, expected: str) -> SourceError:
    return SourceError(
        f"source {SCHEME}://…", expected=expected, found=found or "nothing", next_step="Correct the address."
    )
