"""An answer goes out piece by piece, and is counted as held until the last piece is on its way."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from edgeseg.serve.answers import Answer
from edgeseg.serve.bodies import Share

_PIECE = 1 << 16


class HeldResponse(Response):
    """An answer that waits for its client between pieces, so that no more than one is copied for it."""

    def __init__(self, answer: Answer, share: Share) -> None:
        super().__init__(media_type=answer.media_type, headers=answer.headers)
        self.headers["Content-Length"] = str(len(answer.body))
        self._answer, self._share = answer.body, share

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as it is called
        with self._share:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            for start in range(0, len(self._answer), _PIECE):
                piece = self._answer[start : start + _PIECE]
                more = start + _PIECE < len(self._answer)
                await send({"type": "http.response.body", "body": piece, "more_body": more})
