"""What the loop is to do: one plan, made from the command line, that all of its processes are given."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from edgeseg.camera import Wanted
from edgeseg.loop.report import Mode
from edgeseg.loop.ring import RingLayout

LARGEST_FRAME = 3840 * 2160
"""Pixels of a frame that the rings have room for; memory is taken only for what is used of it."""

_FRAME_FIELDS = (
    ("frame", "i8"),  # the loop's own number of it
    ("epoch", "i8"),
    ("position", "i8"),
    ("captured_ns", "i8"),
    ("ready_ns", "i8"),
    ("driver_clock", "i8"),
    ("decode_ms", "f8"),
    ("height", "i8"),
    ("width", "i8"),
    ("view", "i8"),
)
FRAMES = RingLayout(_FRAME_FIELDS, (("image", LARGEST_FRAME * 3),))
"""From capture to inference."""
MASKS = RingLayout(
    (
        *_FRAME_FIELDS,
        ("finished_ns", "i8"),
        ("resize_ms", "f8"),
        ("infer_ms", "f8"),
        ("post_ms", "f8"),
        ("model_height", "i8"),
        ("model_width", "i8"),
        ("has_confidence", "i8"),
        ("state", "i8"),
        ("valid", "i8"),
        ("late", "i8"),
    ),
    (
        ("image", LARGEST_FRAME * 3),
        ("mask", LARGEST_FRAME),
        ("model_mask", LARGEST_FRAME),
        ("confidence", LARGEST_FRAME),
    ),
)
"""From inference to the sinks."""


@dataclass(frozen=True)
class Budgets:
    """How long what may take, in milliseconds; 0 means no limit where that makes sense.

    Args:
        stall_ms: Without a frame for two periods and so long, the camera has stalled; a read that lasts a
            second more is ended and the camera opened anew.
        hang_ms: An inference that lasts so long hangs: its process is ended and started anew.
        deadline_ms: Masks older than this when they are published are late, and not valid; 0: none is.
        frozen_ms: A camera that gives the same pixels for so long is frozen; 0: it is not looked at.
    """

    stall_ms: float = 500.0
    hang_ms: float = 2000.0
    deadline_ms: float = 0.0
    frozen_ms: float = 1000.0


@dataclass(frozen=True)
class LoopPlan:
    """Everything that the processes of the loop need to know; it travels as JSON.

    Args:
        bundle: Path of the bundle.
        source: As ``--source`` takes it.
        sinks: As ``--sink`` takes them.
        every_frame: Segment every frame of a file in order, and drop none.
        wanted: What a camera is asked for.
        budgets: How long what may take.
        smooth: Masks that vote on a pixel's class; 0: none, masks are as the model gives them.
        runtime, precision, threads, trusted_keys: As :func:`edgeseg.load` takes them.
        realtime: Ask the system for real-time scheduling, and keep memory from being swapped.
        parts: ``module:function`` of what opens the source, loads the bundle and opens the sinks. Tests have
            others.
    """

    bundle: str
    source: str
    sinks: tuple[str, ...] = ()
    every_frame: bool = False
    wanted: Wanted = field(default_factory=Wanted)
    budgets: Budgets = field(default_factory=Budgets)
    smooth: int = 0
    runtime: str | None = None
    precision: str | None = None
    threads: int | None = None
    trusted_keys: tuple[str, ...] = ()
    realtime: bool = False
    parts: tuple[str, str, str] = (
        "edgeseg.camera:open_source",
        "edgeseg.segmenter:load",
        "edgeseg.loop.sinks:open_sinks",
    )

    @property
    def publishes(self) -> bool:
        """Whether masks go anywhere, so that there is a process of sinks."""
        return bool(self.sinks)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> LoopPlan:
        values: dict[str, Any] = json.loads(text)
        wanted = values["wanted"]
        wanted["size"] = tuple(wanted["size"]) if wanted["size"] else None
        for name in ("sinks", "trusted_keys", "parts"):
            values[name] = tuple(values[name])
        return cls(**{**values, "wanted": Wanted(**wanted), "budgets": Budgets(**values["budgets"])})

    def part(self, index: int) -> Callable[..., Any]:
        """The function that opens the source (0), loads the bundle (1) or opens the sinks (2)."""
        module, _, name = self.parts[index].partition(":")
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return function


@dataclass(frozen=True)
class SourceFacts:
    """What the capture process tells of the source that it has opened."""

    name: str
    live: bool
    fps: float
    frame_size: tuple[int, int]
    frame_count: int | None
    format: str
    mode: Mode

    @property
    def period_ms(self) -> float:
        return 1000 / self.fps
