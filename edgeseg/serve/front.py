"""What every request passes: the check of its host, the count, and how every refusal is worded alike."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgeseg.loopback import is_loopback
from edgeseg.serve.refusals import Refusal
from edgeseg.serve.service import Service

MODEL = "edgeseg.model"
"""Where a request notes which model it is for."""
_ADDRESSES = "an address and a method that /openapi.json names"
_LOG = logging.getLogger(__name__)


class Refused(BaseModel):
    """Why there is no answer."""

    error: str


class Front:
    """Before the application: refuses other hosts' names, and counts what was answered."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started, status = time.monotonic(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if self._host_is_ours(scope):
                await self._app(scope, receive, watched)
            else:
                text = "Host: expected the name of this machine's loopback, found another. Use 127.0.0.1."
                await _answer(403, text)(scope, receive, watched)
        finally:
            self._service.metrics.count(scope.get(MODEL, ""), status, time.monotonic() - started)

    def _host_is_ours(self, scope: Scope) -> bool:
        """A site elsewhere may give its own name this address; a browser then says that name, not ours."""
        if not self._service.local_only or self._service.token is not None:
            return True
        try:
            name = urlsplit(f"//{Headers(scope=scope).get('host', '')}").hostname or ""
        except ValueError:
            return False
        return is_loopback(name)


def add_refusals(app: FastAPI) -> None:
    """Every refusal is a status and ``{"error": message}``, whoever refuses."""

    async def refuse(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, Refusal):
            return _answer(error.status, error.message, error.headers)
        if isinstance(error, RequestValidationError):
            return _answer(422, _said(error))
        if isinstance(error, HTTPException):
            found = f"{request.method} {request.url.path[:200]}: {error.detail}"
            return _answer(
                error.status_code, f"request: expected {_ADDRESSES}, found {found}.", error.headers
            )
        _LOG.error("a request failed", exc_info=error)
        return _answer(500, "service: expected an answer, found a fault that its log describes. Report it.")

    for kind in (Refusal, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, refuse)


def _answer(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(Refused(error=message).model_dump(), status, headers)


def _said(error: RequestValidationError) -> str:
    found: Any = error.errors()[0]
    where = ".".join(str(part) for part in found["loc"][1:]) or "request"
    given = str(found.get("input"))[:100]
    return f"{where}: expected another value ({found['msg']}), found {given!r}. Correct it."
