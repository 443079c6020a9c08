"""One service without its HTTP: the models, their pool, what is held and counted, and one picture's way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from edgeseg.errors import PictureError, PictureKindError, PictureSizeError
from edgeseg.segmenter import Segmenter
from edgeseg.serve.answers import Answer, Form, make_answer
from edgeseg.serve.bodies import Held, file_of_form, is_form
from edgeseg.serve.limits import Limits
from edgeseg.serve.metrics import Metrics
from edgeseg.serve.models import Model
from edgeseg.serve.pictures import read_picture
from edgeseg.serve.pool import FullError, Pool
from edgeseg.serve.refusals import Refusal, busy

# A runtime that has been at one picture for so long hangs.
_HUNG_SECONDS = 60.0
_STATUS: dict[type[PictureError], int] = {PictureKindError: 415, PictureSizeError: 413}


@dataclass
class Service:
    """Everything that requests share.

    Args:
        models: By name.
        limits: Of all clients together and each.
        token: What a client has to say; ``None``: nothing.
        local_only: Whether it listens on loopback alone, so that no other host's name may lead to it.
    """

    models: Mapping[str, Model]
    limits: Limits
    token: str | None = None
    local_only: bool = True
    held: Held = field(init=False)
    metrics: Metrics = field(init=False)
    pool: Pool[dict[str, Segmenter]] = field(init=False)
    _stopped: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.held = Held(self.limits.held_bytes)
        self.metrics = Metrics(list(self.models))
        slots = range(self.limits.slots)
        self.pool = Pool(
            [{name: model.instances[i] for name, model in self.models.items()} for i in slots],
            self.limits.queue,
        )

    def model(self, name: str) -> Model:
        """The model of a name.

        Raises:
            Refusal: There is none.
        """
        if name not in self.models:
            known = ", ".join(self.models)
            raise Refusal(
                404, f"model {name[:100]!r}: expected one of {known}, found no such name. Correct it."
            )
        return self.models[name]

    def check_room(self) -> None:
        """Raises:
        Refusal: The queue is full.
        """
        if self.pool.full:
            raise self._full()

    async def predict(self, name: str, body: bytes, content_type: str, form: Form) -> Answer:
        """A body's picture segmented by a model, in its turn.

        Raises:
            Refusal: The queue is full, or the body holds no picture that can be taken.
            InferenceError: The runtime failed.
        """
        asked = time.monotonic()
        # Emptied where nobody waits any more: what is passed over in the queue must not keep its picture.
        sent = [body]

        def work(instances: Mapping[str, Segmenter]) -> Answer:
            begun, body = time.monotonic(), sent.pop()
            data = file_of_form(body, content_type) if is_form(content_type) else body
            picture = read_picture(data, self.limits.pixels)
            decoded = time.monotonic()
            segmenter = instances[name]
            waited_ms, decode_ms = 1000 * (begun - asked), 1000 * (decoded - begun)
            return make_answer(form, name, segmenter, segmenter(picture), waited_ms, decode_ms)

        try:
            future: Future[Answer] = self.pool.submit(work)
        except FullError as error:
            raise self._full() from error
        del body
        try:
            # Where this is cancelled, the future is, and is passed over in the queue.
            return await asyncio.wrap_future(future)
        except PictureError as error:
            raise Refusal(_STATUS.get(type(error), 422), str(error)) from error
        finally:
            sent.clear()

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped is not None

    def stop(self) -> None:
        """It shall end, with one ``limits.stop_seconds`` from the first time on for requests and slots."""
        self._stopped = self._stopped or time.monotonic()

    def close(self) -> None:
        """Let the slots finish what was accepted, in what is left of the time for stopping."""
        stopped = self._stopped or time.monotonic()
        self.pool.close(max(stopped + self.limits.stop_seconds - time.monotonic(), 0.0))

    @property
    def hung(self) -> bool:
        """Whether a runtime does not come back from a picture."""
        return self.pool.longest_seconds() > _HUNG_SECONDS

    def gauges(self) -> dict[str, tuple[str, Any]]:
        """What is so at this moment, for :meth:`Metrics.collect`."""
        return {
            "running": ("Pictures that are worked on.", self.pool.running),
            "waiting": ("Pictures that wait for a slot.", self.pool.waiting),
            "held_bytes": ("Bodies and answers that are held for clients.", self.held.bytes),
        }

    def _full(self) -> Refusal:
        return busy(f"{self.limits.slots} at work and {self.limits.queue} waiting")
