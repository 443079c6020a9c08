"""Streamlit's server for the page: on loopback, silent, and offline."""

from __future__ import annotations

import socket
import sys
from importlib.util import find_spec
from pathlib import Path

from edgeseg.dashboard.images import MAX_UPLOAD_MB
from edgeseg.dashboard.parts import Settings
from edgeseg.errors import MissingExtraError, UsageError

HOST = "127.0.0.1"
_SCRIPT = Path(__file__).parent / "entry" / "streamlit_script.py"
_PACKAGES = ("streamlit", "plotly")


def require_packages() -> None:
    """
    Raises:
        MissingExtraError: The extra ``dashboard`` is not installed.
    """
    for package in _PACKAGES:
        if find_spec(package) is None:
            raise MissingExtraError.of("edgeseg dashboard", package, "dashboard")


def require_free(port: int) -> None:
    """Streamlit would say less, and later.

    Raises:
        UsageError: Something listens on the port, or it may not be used.
    """
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
    except OSError as error:
        raise UsageError(
            f"--port {port}",
            expected=f"a port of {HOST} that is free",
            found=error.strerror or str(error),
            next_step="Name another one.",
        ) from error


def command(settings: Settings, port: int) -> list[str]:
    """The process that serves the page: Streamlit with every setting that keeps it to itself."""
    options = {
        "server.address": HOST,
        "server.port": port,
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "server.maxUploadSize": MAX_UPLOAD_MB,
        "browser.gatherUsageStats": "false",
        "client.showErrorDetails": "none",
        "client.toolbarMode": "minimal",
        # Of both themes: one setting for all would be a theme of its own, deaf to what the system prefers.
        "theme.light.primaryColor": "#1f6feb",
        "theme.dark.primaryColor": "#4c9be8",
        "global.developmentMode": "false",
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "streamlit", "run", str(_SCRIPT), *flags, "--", settings.to_json()]
