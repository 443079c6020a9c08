"""The commands that the README and the guides print: there, or in a docstring that a guide shows."""

from __future__ import annotations

import importlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from edgeseg.cli.app import app

# Read one after another, whatever they hold: the end of one is not to be taken for the start of the next.
_BLOCK = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", flags=re.DOTALL | re.MULTILINE)
_SHELL = ("", "bash", "sh", "console")
# A variable or two may stand before, and a path in front of the program's name.
_COMMAND = re.compile(r"(?:\w+=\S+\s+)*(?:\S*/)?edgeseg\s+\S")
_MODULE = re.compile(r"^::: (edgeseg\.training\.recipes\.\w+)$", flags=re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
# Typer has its own copy of Click, or Click itself: what either raises where words are no command.
_NoCommand: type[Exception] = typer.BadParameter.__mro__[1]


@dataclass(frozen=True)
class Command:
    """A line of a page that starts ``edgeseg``; ``page`` is its path from the project's root."""

    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"

    @property
    def words(self) -> list[str]:
        """What stands after the program's name, without a comment."""
        return self._split()[1]

    @property
    def variables(self) -> dict[str, str]:
        """What it sets in its environment: ``KERAS_BACKEND=jax edgeseg …``."""
        return dict(word.split("=", 1) for word in self._split()[0])

    def _split(self) -> tuple[list[str], list[str]]:
        words = shlex.split(self.text, comments=True)
        at = next(i for i, word in enumerate(words) if re.fullmatch(r"(\S*/)?edgeseg", word))
        return words[:at], words[at + 1 :]


def pages(root: Path) -> list[Path]:
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def commands(root: Path) -> list[Command]:
    """Those that can be typed: every line of a block, and within a text those that lack nothing."""
    found = []
    for page in pages(root):
        name, text = page.relative_to(root).as_posix(), page.read_text(encoding="utf-8")
        found += [Command(name, line) for line in [*_lines(text), *_in_recipes(text)]]
        found += [command for command in _in_text(name, text) if _is_whole(command)]
    return found


def mentions(root: Path) -> list[Command]:
    """Those within a text that leave something out: ``edgeseg train``, ``edgeseg export … --dla``."""
    found = []
    for page in pages(root):
        inline = _in_text(page.relative_to(root).as_posix(), page.read_text(encoding="utf-8"))
        found += [command for command in inline if not _is_whole(command)]
    return found


def leaf(command: Command) -> tuple[Any, list[str]]:
    """The verb that it calls and the words for it; no verb where it names a group or nothing known."""
    words, found = command.words, typer.main.get_command(app)
    while hasattr(found, "commands"):
        if not words or words[0] not in found.commands:
            return None, words
        found = found.commands[words.pop(0)]
    return found, words


def _lines(text: str) -> list[str]:
    blocks = [block for language, block in _BLOCK.findall(text) if language in _SHELL]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if _COMMAND.match(line.strip())]


def _in_recipes(text: str) -> list[str]:
    shown = [importlib.import_module(name).__doc__ or "" for name in _MODULE.findall(text)]
    return [line.strip() for line in "\n".join(shown).splitlines() if _COMMAND.match(line.strip())]


def _in_text(page: str, text: str) -> list[Command]:
    found = _INLINE.findall(_BLOCK.sub("", text))
    return [Command(page, inline) for inline in found if _COMMAND.match(inline)]


def _is_whole(command: Command) -> bool:
    verb, words = leaf(command)
    if verb is None or not words or "…" in command.text:
        return False
    try:
        verb.make_context(verb.name or "", words)
    except _NoCommand:
        return False
    return True
