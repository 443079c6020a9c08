"""What every verb shows: progress for people, JSON for machines, and at the end the next command."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from edgeseg.errors import UsageError

T = TypeVar("T")
Advance = Callable[[int, int], None]
"""Called with (finished, total) as work goes on."""

_LONGEST_LINE = 1000

console = Console(stderr=True, highlight=False)
"""For people. It writes to stderr, so that stdout holds nothing but results."""


@contextmanager
def progress_bar(description: str) -> Iterator[Advance]:
    """A progress bar on stderr; without a terminal it prints nothing until it is done."""
    with _progress() as progress:
        task = progress.add_task(description, total=None)
        yield lambda finished, total: progress.update(task, completed=finished, total=total)
        if progress.tasks[0].total is None:  # a step that does not count: all of it is done
            progress.update(task, completed=1, total=1)


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterate with a progress bar on stderr."""
    with _progress() as progress:
        yield from progress.track(items, total=total, description=description)


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on stdout: text to the left, numbers to the right."""
    table = Table(title=title, title_justify="left")
    listed = [[str(cell) for cell in row] for row in rows]
    for index, name in enumerate(header):
        numeric = all(re.match(r"^[−+\-\d.]|^n/a$|^$", row[index]) for row in listed) and listed
        table.add_column(name, justify="right" if numeric and index else "left", overflow="fold")
    for row in listed:
        table.add_row(*row)
    # Cells are data: a path or an extra in brackets is no markup.
    printer = Console(highlight=False, markup=False)
    if not printer.is_terminal:
        # A file or a pipe has no edge at which words would have to be cut.
        whole = printer.measure(table, options=printer.options.update(max_width=_LONGEST_LINE)).maximum
        printer = Console(highlight=False, markup=False, width=max(printer.width, whole))
    printer.print(table)


def print_json(values: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def done(path: Path | str, next_command: str | None = None) -> None:
    """The last lines of a verb: what was written, and what to try next."""
    console.print(f"Written: {path}", soft_wrap=True, markup=False)
    if next_command:
        console.print(f"Next:    {next_command}", soft_wrap=True, markup=False)


def command_line() -> str:
    """This process's command, to be typed again; credentials in addresses are left out."""
    from edgeseg.camera import without_password

    return shlex.join(["edgeseg", *map(without_password, sys.argv[1:])])


def note(text: str | None) -> None:
    """A remark that does not stop anything; nothing where there is none."""
    if text:
        console.print(f"Note:    {text}", soft_wrap=True, markup=False)


def parse_size(text: str, option: str = "--size", form: str = "HxW, for instance 256x512") -> tuple[int, int]:
    """The value of an option, two numbers of pixels with an x between them, in the order of ``form``.

    Raises:
        UsageError: It is something else.
    """
    match = re.fullmatch(r"([1-9]\d*)[xX×]([1-9]\d*)", text)
    if not match:
        raise UsageError(
            option,
            expected=form,
            found=repr(text),
            next_step="Correct it.",
        )
    return int(match[1]), int(match[2])


def parse_settings(settings: Sequence[str]) -> dict[str, str]:
    """``key=value`` arguments of ``--set`` to a dict.

    Raises:
        UsageError: One has no ``=``.
    """
    pairs = [setting.partition("=") for setting in settings]
    for setting, (key, equals, _) in zip(settings, pairs, strict=True):
        if not key or not equals:
            raise UsageError("--set", expected="key=value", found=repr(setting), next_step="Correct it.")
    return {key: value for key, _, value in pairs}


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=False,
    )
