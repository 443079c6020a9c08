"""Every command that the README and the guides print exists, with the options they use."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import typer

from edgeseg.cli.app import app


def test_commands_in_the_docs_exist(project_root: Path) -> None:
    seen = 0
    for page in [project_root / "README.md", *sorted((project_root / "docs").rglob("*.md"))]:
        for line in _commands(page.read_text(encoding="utf-8")):
            _check(line, page.name)
            seen += 1
    assert seen >= 10


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


def _commands(text: str) -> list[str]:
    blocks = re.findall(r"```(?:bash|sh|console)?\n(.*?)```", text, flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if re.match(r"\s*(\S*/)?edgeseg\s", line)]


def _check(line: str, page: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        if not words or words[0].startswith("-"):
            return
        name = words.pop(0)
        assert name in command.commands, f"{page}: {line}: no verb {name}"
        command = command.commands[name]
    known = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    for word in words:
        if word.startswith("-") and not re.fullmatch(r"-[\d.]+", word):
            option = word.split("=")[0]
            assert option in known | {"--help"}, f"{page}: {line}: no option {option}"
