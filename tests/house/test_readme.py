"""Every command that the README and the guides print exists, with the options they use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer

from documented import Command, commands, mentions
from edgeseg.cli.app import app


def test_commands_in_the_docs_exist(project_root: Path) -> None:
    found = [*commands(project_root), *mentions(project_root)]
    tool = typer.main.get_command(app)
    for command in found:
        _check(command, tool)
    assert len(found) >= 100


def test_links_in_the_docs_lead_somewhere(project_root: Path) -> None:
    seen = 0
    for page in [*project_root.glob("*.md"), *sorted((project_root / "docs").rglob("*.md"))]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"
                seen += 1
    assert seen >= 10


def test_make_targets_in_the_readme_exist(project_root: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (project_root / "Makefile").read_text(), flags=re.MULTILINE)
    for target in re.findall(r"\bmake ([a-z]+)\b", (project_root / "README.md").read_text()):
        assert target in targets


def _check(line: Command, command: Any) -> None:
    words = line.words
    while hasattr(command, "commands"):
        if not words or words[0].startswith("-"):
            return
        name = words.pop(0)
        assert name in command.commands, f"{line}: no verb {name}"
        command = command.commands[name]
    known = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    for word in words:
        if word.startswith("-") and not re.fullmatch(r"-[\d.]+", word):
            option = word.split("=")[0]
            assert option in known | {"--help"}, f"{line}: no option {option}"
