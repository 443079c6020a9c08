"""The sink thread: draws and writes masks without ever holding up inference."""

from __future__ import annotations

import threading
import time

from edgeseg.errors import EdgesegError, SinkError
from edgeseg.loop.channel import Channel, ChannelClosedError, Mailbox
from edgeseg.loop.report import Mode
from edgeseg.loop.sinks import Published, Sink
from edgeseg.loop.statistics import Durations

_IN_ORDER_MASKS = 2
# A file system's hiccup should not cost pictures; a sink that is too slow for good still shows the newest.
_NEWEST_MASKS = 4


class Publisher:
    """Writes to ``sink`` in a thread of its own until :meth:`finish`.

    Attributes:
        error: What the sink failed with. No mask is written after it.
        written: Masks that the sink took.
        durations: Milliseconds that drawing and writing one took.
    """

    def __init__(self, sink: Sink, mode: Mode) -> None:
        self.error: EdgesegError | None = None
        self.written = 0
        self.durations = Durations()
        self._sink = sink
        self._masks: Channel[Published] = (
            Channel(_IN_ORDER_MASKS) if mode == "every-frame" else Mailbox(_NEWEST_MASKS)
        )
        self._positions = 0
        self._thread = threading.Thread(target=self._work, name="edgeseg-sink", daemon=True)

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish(self._positions)

    def publish(self, published: Published) -> None:
        """Hand a mask over. Newest wins, except with ``every-frame``, which waits for the sink.

        Raises:
            EdgesegError: The sink has failed.
        """
        try:
            self._masks.put(published)
        except ChannelClosedError:
            if self.error is not None:
                raise self.error from None
            raise

    def finish(self, positions: int) -> None:
        """Write what is left and complete the sink at ``positions`` frame periods; twice is harmless."""
        self._positions = positions
        self._masks.close()
        self._thread.join()

    def _work(self) -> None:
        try:
            self._write_all()
            self._sink.finish(self._positions)
        except EdgesegError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - a thread must not die unseen, whatever a driver throws
            self.error = _unexpected(self._sink.name, error)
        finally:
            self._masks.close()
            self._sink.close()

    def _write_all(self) -> None:
        while True:
            try:
                published = self._masks.take()
            except ChannelClosedError:
                return
            if published is None:
                continue
            started = time.monotonic_ns()
            self._sink.write(published)
            self.durations.add((time.monotonic_ns() - started) / 1e6)
            self.written += 1


def _unexpected(name: str, error: Exception) -> SinkError:
    return SinkError(
        name,
        expected="to be written",
        found=f"{type(error).__name__}: {error}",
        next_step="Check the free space and the permissions there.",
    )
