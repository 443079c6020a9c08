"""What a client is told where it gets no picture: a status and one message."""

from __future__ import annotations

from collections.abc import Mapping

RETRY_SECONDS = "1"


class Refusal(Exception):  # noqa: N818 - it is what the service does, and no fault of it
    """An answer that is no picture.

    Args:
        status: Of HTTP.
        message: One, for people: what was expected, what was found, what to do.
        headers: More of the answer's headers.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})


def busy(found: str) -> Refusal:
    """503: the same request may do a moment later."""
    return Refusal(
        503,
        f"service: expected room for one more picture, found {found}. Send it again in a moment.",
        {"Retry-After": RETRY_SECONDS},
    )
