"""What clients send is taken in up to a bound for each and a bound for all, and for a bounded time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from edgeseg.serve.limits import Limits
from edgeseg.serve.refusals import Refusal, busy

_STALL_SECONDS = 5.0
_SLOW = "Send it faster, or a smaller picture."
T = TypeVar("T")
_FORM = "multipart/form-data"


class Held:
    """Counts the bytes that are held for all clients together: bodies as they come, answers until they went.

    Args:
        most: Of them at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.bytes = 0

    def take(self, count: int) -> None:
        """Count so many more.

        Raises:
            Refusal: They would be too many.
        """
        if self.bytes + count > self._most:
            raise busy(f"{self.bytes >> 20} MiB of pictures and answers held for others")
        self.bytes += count

    def give_back(self, count: int) -> None:
        self.bytes -= count


class Share:
    """What one request holds of it, until it is closed."""

    def __init__(self, held: Held) -> None:
        self._held, self._bytes = held, 0

    def add(self, count: int) -> None:
        """Hold so many more.

        Raises:
            Refusal: All together would hold too many.
        """
        self._held.take(count)
        self._bytes += count

    def close(self) -> None:
        """Hold nothing any more; calling twice is harmless."""
        self._held.give_back(self._bytes)
        self._bytes = 0

    def __enter__(self) -> Share:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


async def read_body(request: Request, share: Share, limits: Limits) -> bytes:
    """The whole body. The length that it says is held by ``share`` from the start: who is let in can finish,
    and clients that come all at once do not all end half-way. One that does not say it counts as the longest.

    Raises:
        Refusal: It is too long, which is seen as soon as it is; it is too slow; all bodies together would be
            too many; or the client went away.
    """
    # Of both, HTTP heeds the chunks: a length beside them promises nothing.
    said = "" if "transfer-encoding" in request.headers else request.headers.get("content-length", "")
    length = int(said) if said.isdigit() else limits.body_bytes
    if length > limits.body_bytes:
        raise _too_long(limits)
    share.add(length)
    started, chunks, received = time.monotonic(), [], 0
    while True:
        chunk, more = await _next_chunk(request, min(_STALL_SECONDS, limits.client_seconds))
        received += len(chunk)
        if received > length:
            raise _too_long(limits)
        chunks.append(chunk)
        if not more:
            return b"".join(chunks)
        # Who drips must not hold for long what it said that it would send.
        late = time.monotonic() - started - _STALL_SECONDS
        due = length * late / limits.client_seconds if said else 0
        if received < due or late + _STALL_SECONDS > limits.client_seconds:
            raise _too_slow(limits)


async def _next_chunk(request: Request, seconds: float) -> tuple[bytes, bool]:
    """The next piece, and whether more of them come."""
    try:
        message = await asyncio.wait_for(request.receive(), seconds)
    except (asyncio.TimeoutError, TimeoutError) as error:
        raise Refusal(
            408, f"body: expected more of it within {seconds:g} s, found nothing. {_SLOW}"
        ) from error
    if message["type"] == "http.disconnect":
        raise Refusal(400, "body: expected all of it, found a connection that ended. Send it again.")
    return message.get("body", b""), message.get("more_body", False)


async def unless_gone(request: Request, answering: Coroutine[Any, Any, T]) -> T:
    """What ``answering`` gives, whose body was read; it is cancelled where the client goes away.

    Raises:
        Refusal: The client went away. Nobody sees it, but it is counted.
    """
    answer = asyncio.ensure_future(answering)
    # Nothing comes after the body but the end of the connection.
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise Refusal(400, "answer: expected a client that waits for it, found a connection that ended.")
    finally:
        answer.cancel()
        gone.cancel()


def is_form(content_type: str) -> bool:
    """Whether a body of this type has the picture as a part of it."""
    return content_type.partition(";")[0].strip().lower() == _FORM


def file_of_form(body: bytes, content_type: str) -> bytes:
    """The one file of a form.

    Raises:
        Refusal: It is damaged, or holds nothing or more than one part.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    parts: list[bytearray] = []
    ended: list[bool] = []

    def begin() -> None:
        if parts:
            raise _bad_form("more")
        parts.append(bytearray())

    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": begin,
                "on_part_data": lambda data, start, end: parts[-1].extend(data[start:end]),
                "on_end": lambda: ended.append(True),
            },
        )
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise _bad_form(str(error) or "a damaged one") from error
    if not parts or not ended:
        raise _bad_form("one that was cut off" if parts else "nothing")
    return bytes(parts[0])


def _bad_form(found: str) -> Refusal:
    return Refusal(
        422,
        f"form: expected one file, found {found}. Send the picture as the only field, or as the body itself.",
    )


def _too_long(limits: Limits) -> Refusal:
    return Refusal(
        413,
        f"body: expected at most {limits.body_bytes} bytes, found more. Send a smaller picture, or start the "
        "service with a larger --max-body.",
    )


def _too_slow(limits: Limits) -> Refusal:
    return Refusal(
        408, f"body: expected all of it within {limits.client_seconds:g} s, found less than is due. {_SLOW}"
    )
