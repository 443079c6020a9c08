"""The dashboard as a process, in a real browser: it draws, it stays on this machine, it ends when told."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from toys import write_bundle

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE_S = 120

pytestmark = pytest.mark.heavy


@pytest.fixture
def page() -> Iterator[Any]:
    """A page of a headless Chromium, with the hosts that it asked for anything as ``hosts``."""
    playwright = pytest.importorskip("playwright.sync_api")
    pytest.importorskip("streamlit")
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1400, "height": 1000})
        opened.set_default_timeout(1000 * PATIENCE_S)
        opened.hosts = set()
        opened.on("request", lambda request: opened.hosts.add(urlsplit(request.url).hostname))
        yield opened
        browser.close()


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """``edgeseg dashboard`` with two toy bundles and a picture; SIGTERM ends it at once."""
    image = tmp_path / "red.ppm"
    image.write_bytes(b"P6 64 32 255\n" + bytes((200, 10, 10)) * 64 * 32)
    bundles = [write_bundle(tmp_path / f"{name}.edgeseg") for name in ("first", "second")]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "edgeseg", "dashboard", *bundles, "--images", image, "--runs", tmp_path]
    with (tmp_path / "log").open("w") as log:
        # In a folder without results: where the demo was run there are some to show.
        process = subprocess.Popen(
            [*map(str, command), "--port", str(port)], cwd=tmp_path, stdout=log, stderr=log
        )
    try:
        found = f"http://127.0.0.1:{port}"
        _wait_for(found, process, tmp_path / "log")
        yield found
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=PATIENCE_S)
        assert "Traceback" not in (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()


def test_it_draws_the_three_sheets_and_asks_nobody_else(page: Any, address: str) -> None:
    page.goto(address)
    page.get_by_text("Latency of this image").wait_for()
    for text in ("first", "second", "Disagreement", "0.0 % of the pixels", "red", "green", "blue"):
        assert page.get_by_text(text, exact=True).first.is_visible()
    # Image, two predictions and what they disagree on; each is fetched after the page is there.
    page.wait_for_function(
        "[...document.querySelectorAll('[data-testid=stImageContainer] img')]"
        ".filter(image => image.naturalWidth == 64).length == 4"
    )
    page.get_by_role("link", name="Runs").click()
    page.get_by_text("There are no runs").wait_for()
    page.get_by_role("link", name="Accuracy and latency").click()
    page.get_by_text("There are no results").wait_for()
    assert page.locator("[data-testid=stException]").count() == 0
    assert page.hosts == {"127.0.0.1"}


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
