"""Every command that the README and the guides print is run, page by page, in the order of the page.

What a command writes is what the next ones of its page take: a path that the docs say wrong fails here. The
data are drawn and small, and so is the work: ``documented_table`` says how, and what is run elsewhere.
"""

from __future__ import annotations

import json
import re
import shlex
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from conftest import ROOT
from documented import Command, commands
from documented_inputs import Inputs
from documented_runner import run_here, run_until
from documented_table import BEFORE, ELSEWHERE, ENDS, GIVEN, LONG, SMALLER, SUBSTITUTED, UNTIL

COMMANDS = commands(ROOT)
HERE = [command for command in COMMANDS if not any(re.search(key, str(command)) for key in ELSEWHERE)]


def _in(table: Mapping[str, object], command: Command) -> list[str]:
    return [key for key in table if re.search(key, str(command))]


def _pages(chosen: list[Command]) -> list[str]:
    return list(dict.fromkeys(command.page for command in chosen))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with ExitStack() as running:
        yield Workspace(tmp_path_factory.mktemp("documented"), running)


@pytest.mark.heavy
@pytest.mark.parametrize("page", _pages([command for command in HERE if not _in(LONG, command)]))
def test_every_command_of_a_page_does_what_it_says(page: str, workspace: Workspace) -> None:
    for command in HERE:
        if command.page == page and not _in(LONG, command):
            workspace.run(command)


@pytest.mark.large  # the shorter ones are run by the test above
@pytest.mark.parametrize("page", _pages([command for command in HERE if _in(LONG, command)]))
def test_commands_that_take_long(page: str, workspace: Workspace) -> None:
    for command in HERE:
        if command.page == page and _in(LONG, command):
            workspace.run(command)


@pytest.mark.parametrize("table", [SMALLER, BEFORE, ENDS, UNTIL, ELSEWHERE, LONG])
def test_nothing_is_in_the_table_that_the_docs_do_not_say(table: Mapping[str, object]) -> None:
    for key in table:
        assert any(re.search(key, str(command)) for command in COMMANDS), key
        assert sum(bool(re.search(key, str(command))) for command in COMMANDS) < len(COMMANDS) / 2, key


def test_every_substitution_and_every_given_file_is_used() -> None:
    for key in SUBSTITUTED:
        assert any(re.search(key, command.text) for command in COMMANDS), key
    before = [(command.page, BEFORE[key]) for command in HERE for key in _in(BEFORE, command)]
    steps = [Command(page, step) for page, several in before for step in several]
    used = {key for command in [*HERE, *steps] for word in _words(command) for key in _given(command, word)}
    assert set(GIVEN) == used


@pytest.mark.parametrize("test", ELSEWHERE.values())
def test_the_tests_that_are_named_exist(test: str, project_root: Path) -> None:
    file, name = test.split("::")
    assert f"def {name}(" in (project_root / file).read_text(encoding="utf-8")


class Workspace:
    """A folder for each page, in which its commands run one after another."""

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self._folder = folder
        self._inputs = Inputs(folder / "inputs", running)

    def run(self, command: Command) -> None:
        for key in _in(BEFORE, command):
            for step in BEFORE[key]:
                self._run(Command(command.page, step), (0, ""))
        self._run(command, next((ENDS[key] for key in _in(ENDS, command)), (0, "")))

    def _run(self, command: Command, end: tuple[int, str]) -> None:
        folder = self._folder / Path(command.page).stem
        folder.mkdir(exist_ok=True)
        words = _words(command)
        self._give(command, words, folder)
        said = next((UNTIL[key] for key in _in(UNTIL, command)), None)
        if said is None:
            ran = run_here(words, folder, command.variables)
        else:
            ran = run_until(said, words, folder, command.variables)
        told = f"{command}\nrun as: edgeseg {shlex.join(words)}\n{ran.said}{ran.stdout}"
        assert ran.code == end[0], f"exit code {ran.code}, not {end[0]}\n{told}"
        assert end[1] in ran.said, told
        for written in re.findall(r"^Written: (.*)$", ran.said, flags=re.MULTILINE):
            for path in written.split(", "):
                assert (folder / path).exists(), told
        if "--json" in words:
            json.loads(ran.stdout)

    def _give(self, command: Command, words: list[str], folder: Path) -> None:
        for key in [key for word in words for key in _given(command, word)]:
            place = folder / key.rpartition(": ")[2]
            if not place.exists():
                self._inputs.put(GIVEN[key], place)


def _words(command: Command) -> list[str]:
    """As the test types it."""
    text = command.text
    for pattern, instead in SUBSTITUTED.items():
        text = re.sub(pattern, instead, text)
    added = [word for key in _in(SMALLER, command) for word in shlex.split(SMALLER[key])]
    added = [str(_free_port()) if word == "FREE_PORT" else word for word in added]
    return [*Command(command.page, text).words, *added]


def _given(command: Command, word: str) -> list[str]:
    """What of the table lies where a word says, or what follows in it the name of data or of a model."""
    paths = [path.partition("?")[0] for path in (word, word.partition(":")[2], word.partition("=")[2])]
    found = []
    for key in GIVEN:
        page, _, name = key.rpartition(": ")
        if command.page.endswith(page) and any(path == name or path.startswith(f"{name}/") for path in paths):
            found.append(key)
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
