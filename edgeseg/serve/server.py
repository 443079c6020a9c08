"""The process of the service: it binds, loads, answers, and ends in bounded time when it is told to."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.errors import MissingExtraError, UsageError
from edgeseg.loopback import TOKEN_VARIABLE, is_loopback
from edgeseg.serve.limits import Limits
from edgeseg.serve.models import Loading, load_models

if TYPE_CHECKING:
    from edgeseg.serve.service import Service

_SHORTEST_TOKEN = 16
_BACKLOG = 1024
_UVICORN: dict[str, Any] = {
    "ws": "none",
    "loop": "asyncio",
    "lifespan": "off",
    "log_config": None,
    # Requests are no news, and what fails is logged by the application.
    "log_level": logging.CRITICAL,
    "access_log": False,
    "server_header": False,
    "proxy_headers": False,
}


@dataclass(frozen=True)
class Endpoint:
    """Where a service listens, and what it asks of who comes."""

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None


def serve(
    bundles: Sequence[str],
    endpoint: Endpoint,
    limits: Limits,
    loading: Loading,
    on_listening: Callable[[str, Service], None],
) -> None:
    """Answer until SIGINT or SIGTERM comes; then finish what runs, at most ``limits.stop_seconds`` long.

    Args:
        bundles: As :func:`edgeseg.serve.models.load_models` takes them.
        on_listening: Called once, with the address and the service, when it answers.

    Raises:
        MissingExtraError: FastAPI or uvicorn is not installed.
        UsageError: The address cannot be listened on, or is not loopback and there is no token.
        EdgesegError: A bundle cannot be loaded.
    """
    _check_open(endpoint)
    try:
        import uvicorn

        from edgeseg.serve.app import make_app
        from edgeseg.serve.connections import guarded_protocol
        from edgeseg.serve.service import Service
        from edgeseg.serve.stopping import StoppingServer
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("edgeseg"):
            raise
        raise MissingExtraError.of("edgeseg serve", error.name, "serve") from error
    with ExitStack() as stack:
        # Before the models are loaded: a port that is taken is told at once.
        listening = stack.enter_context(bind(endpoint))
        models = load_models(bundles, limits.slots, loading, stack)
        service = Service(models, limits, endpoint.token, is_loopback(endpoint.host))
        stack.callback(service.close)
        options = {**_UVICORN, "http": guarded_protocol(limits), "backlog": _BACKLOG}
        config = uvicorn.Config(
            make_app(service), **options, timeout_graceful_shutdown=max(int(limits.stop_seconds), 1)
        )
        server = StoppingServer(config, lambda: on_listening(_url(listening), service), service.stop)
        server.run([listening])


def read_token(path: Path | None) -> str | None:
    """The token of a file, or else of the environment variable ``EDGESEG_SERVE_TOKEN``; ``None``: neither.

    Raises:
        UsageError: The file cannot be read, or the token is too short or holds characters that no header has.
    """
    if path is None and TOKEN_VARIABLE not in os.environ:
        return None
    subject = TOKEN_VARIABLE if path is None else str(path)
    try:
        token = os.environ[TOKEN_VARIABLE] if path is None else path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise _bad_token(subject, str(error)) from error
    token = token.strip()
    if len(token) < _SHORTEST_TOKEN or not all("!" <= letter <= "~" for letter in token):
        raise _bad_token(subject, f"{len(token)} characters")
    return token


def _bad_token(subject: str, found: str) -> UsageError:
    return UsageError(
        subject,
        expected=f"a token of {_SHORTEST_TOKEN} or more ASCII characters without spaces",
        found=found,
        next_step="Make one, for instance with: openssl rand -hex 32",
    )


def _check_open(endpoint: Endpoint) -> None:
    if endpoint.token is None and not is_loopback(endpoint.host):
        raise UsageError(
            f"--host {endpoint.host}",
            expected="a token beside an address that other machines reach",
            found="none",
            next_step=f"Give --token-file FILE or {TOKEN_VARIABLE}, or listen on 127.0.0.1.",
        )


def bind(endpoint: Endpoint) -> socket.socket:
    """A socket that listens: who comes before the models are loaded waits.

    Raises:
        UsageError: The address is not this machine's, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    # The protocol is named, for asyncio sends small packets at once only where it is: otherwise head and body
    # of an answer are 40 ms apart.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((endpoint.host, endpoint.port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise UsageError(
            f"--host {endpoint.host} --port {endpoint.port}",
            expected="an address of this machine and a port that is free",
            found=error.strerror or str(error),
            next_step="Choose another port, or 0 for any free one.",
        ) from error
    return listening


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
