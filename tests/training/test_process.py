"""A call in a process of its own: errors, deaths and Ctrl-C cross over, and nothing outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeseg.errors import DataError, TrainingError
from edgeseg.training.process import call_in_process

# The process finds functions by their module's name, and tests have none that it could import.
CODE = """
import os, pathlib, signal, sys, time
from edgeseg.errors import DataError

def note(path, text):
    pathlib.Path(path).write_text(text)

def refuse():
    raise DataError("here", expected="a", found="b", next_step="Do c.")

def kill_itself():
    os.kill(os.getpid(), signal.SIGKILL)

def interrupt_itself():
    raise KeyboardInterrupt

def sum_up(ask, start):
    total = start
    while (more := ask(total)) is not None:
        total += more
    return total

def wait(path):
    note(path + ".pid", str(os.getpid()))
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        note(path, "interrupted")
        raise
"""


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "called_there.py").write_text(CODE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import called_there

    yield called_there
    del sys.modules["called_there"]


def test_it_is_done_elsewhere(there: Any, tmp_path: Path) -> None:
    call_in_process("work", there.note, str(tmp_path / "note"), "done")
    assert (tmp_path / "note").read_text() == "done"


def test_it_may_ask_and_gives_back_what_came_of_it(there: Any) -> None:
    heard: list[int] = []

    def answer(total: int) -> int | None:
        heard.append(total)
        return 5 if total < 12 else None

    assert call_in_process("work", there.sum_up, 1, answer=answer) == 16
    assert heard == [1, 6, 11, 16]


def test_an_answer_that_fails_ends_it(there: Any) -> None:
    def answer(_: int) -> int:
        raise ValueError("no answer")

    with pytest.raises(ValueError, match="no answer"):
        call_in_process("work", there.sum_up, 1, answer=answer)


def test_errors_come_back(there: Any) -> None:
    with pytest.raises(DataError, match="here: expected a, found b") as caught:
        call_in_process("work", there.refuse)
    assert caught.value.exit_code == 3
    with pytest.raises(KeyboardInterrupt):
        call_in_process("work", there.interrupt_itself)


def test_a_process_that_was_killed_is_said(there: Any) -> None:
    with pytest.raises(TrainingError, match=r"work: .*killed by SIGKILL.*same command continues"):
        call_in_process("work", there.kill_itself)


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGKILL])
def test_it_ends_with_the_process_above(with_signal: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C reaches it once; a parent that was killed takes it along."""
    (tmp_path / "called_there.py").write_text(CODE, encoding="utf-8")
    note = tmp_path / "note"
    (tmp_path / "above.py").write_text(
        "from called_there import wait\n"
        "from edgeseg.training.process import call_in_process\n"
        f"if __name__ == '__main__': call_in_process('work', wait, {str(note)!r})\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    above = subprocess.Popen(
        [sys.executable, tmp_path / "above.py"], env=environment, stderr=subprocess.DEVNULL
    )
    _until((tmp_path / "note.pid").exists)
    above.send_signal(with_signal)
    above.wait(60)
    _until(note.exists)
    assert note.read_text() == "interrupted"


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)
