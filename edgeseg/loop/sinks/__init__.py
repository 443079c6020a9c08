"""Sinks: where the loop's masks go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from edgeseg.atomic import clear_leftovers
from edgeseg.errors import EdgesegError, SinkError
from edgeseg.loop.sinks.address import Address
from edgeseg.loop.sinks.base import Figures, Published, Sink, Stamp, TakesEvents, send_event
from edgeseg.loop.sinks.folder import FolderSink
from edgeseg.loop.sinks.jsonl import JsonLinesSink
from edgeseg.loop.sinks.live import LiveSink
from edgeseg.loop.sinks.none import NoSink
from edgeseg.loop.sinks.record import Recorder
from edgeseg.loop.sinks.ros import RosSink
from edgeseg.loop.sinks.shm import ShmSink
from edgeseg.loop.sinks.video import VideoSink
from edgeseg.loop.sinks.window import WindowSink
from edgeseg.loop.sinks.zeromq import ZmqSink

__all__ = [
    "SINKS",
    "Figures",
    "FolderSink",
    "JsonLinesSink",
    "LiveSink",
    "NoSink",
    "Published",
    "Recorder",
    "RosSink",
    "ShmSink",
    "Sink",
    "Stamp",
    "TakesEvents",
    "VideoSink",
    "WindowSink",
    "ZmqSink",
    "clear_unfinished",
    "goes_on",
    "open_sink",
    "open_sinks",
    "send_event",
]

# What is written before ://, or as the whole, or a file's suffix, to what opens it.
SINKS: dict[str, Callable[[Address], Sink]] = {
    "none": lambda _: NoSink(),
    "window": lambda _: WindowSink(),
    "folder": lambda address: FolderSink(Path(address.place)),
    ".mp4": lambda address: VideoSink(Path(address.place), address.fps),
    "masks": lambda address: VideoSink(Path(address.place), address.fps, masks=True),
    "record": lambda address: Recorder(Path(address.place)),
    ".jsonl": JsonLinesSink.open,
    "-": JsonLinesSink.open,
    "http": LiveSink.open,
    "shm": ShmSink.open,
    "zmq": ZmqSink.open,
    "zmq+ipc": ZmqSink.open,
    "ros2": RosSink.open,
}
FORMS = (
    "FILE.mp4, masks:FILE.mp4, a folder, FILE.jsonl, -, http://127.0.0.1:PORT, shm://NAME, zmq://HOST:PORT, "
    "zmq+ipc://PATH, ros2://TOPIC, record:FOLDER, window or none"
)


def open_sink(text: str, fps: float) -> Sink:
    """Open what ``text`` names.

    Args:
        text: One of ``FORMS``. A folder is new or empty.
        fps: The source's frame rate, which a video keeps.

    Raises:
        SinkError: It cannot be opened.
        MissingExtraError: It needs a package that is not installed.
    """
    address = Address.parse(text, fps)
    opener = SINKS.get(address.scheme)
    if opener is None:
        raise SinkError(
            text,
            expected=FORMS,
            found=f"{'a file name that ends in ' if address.scheme.startswith('.') else ''}{address.scheme}",
            next_step="Name one of those.",
        )
    return opener(address)


def goes_on(text: str) -> bool:
    """Whether a sink, opened again after its process was killed, goes on where it was.

    A video whose process is gone is no video, and a folder is asked to be empty at first; who follows lines,
    a port or shared memory finds them again.
    """
    return Address.parse(text).scheme not in ("folder", ".mp4", "masks")


def clear_unfinished(text: str) -> None:
    """Remove what a sink whose process was killed has left of a file that was never finished."""
    address = Address.parse(text)
    if address.scheme in (".mp4", "masks"):
        clear_leftovers(Path(address.place))


def open_sinks(texts: Sequence[str], fps: float) -> list[Sink]:
    """Open several; where one cannot be opened, those before it are closed again and nothing is left of them.

    Raises:
        SinkError: One cannot be opened, or two would write to the same place.
        MissingExtraError: One needs a package that is not installed.
    """
    _check_distinct(texts)
    opened: list[Sink] = []
    try:
        for text in texts:
            opened.append(open_sink(text, fps))
    except EdgesegError:
        for sink in opened:
            sink.close()
        raise
    return opened


def _check_distinct(texts: Sequence[str]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for text in texts:
        address = Address.parse(text)
        if address.target in seen and not address.is_unique:
            raise SinkError(
                f"--sink {text}",
                expected="another place for each sink",
                found=f"{seen[address.target]}, which writes to the same",
                next_step="Leave one of them out, or name another place.",
            )
        seen[address.target] = text
