"""The walls of the house: links, import names, import directions, what the tree must not hold."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

LINKS = ("training", "export", "benchmarks")


@pytest.mark.parametrize("name", LINKS)
def test_link_gives_the_folder_its_import_name(project_root: Path, name: str) -> None:
    link = project_root / "edgeseg" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name
    assert (link / "__init__.py").is_file()


def test_import_directions(project_root: Path) -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([lint, "--no-cache"], cwd=project_root, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout


def test_import_linter_sees_a_wrong_import(project_root: Path, tmp_path: Path) -> None:
    """The contracts bite: a runtime that imports the training half is found."""
    files = _tracked(project_root, "edgeseg", *LINKS, "pyproject.toml")
    for file in files:
        target = tmp_path / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((project_root / file).read_bytes())
    for name in LINKS:
        (tmp_path / "edgeseg" / name).symlink_to(Path("..") / name)
    with (tmp_path / "edgeseg" / "resize.py").open("a") as file:
        file.write("\nimport edgeseg.training.data\n")
    lint = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run(
        [lint, "--no-cache"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert result.returncode != 0
    assert "edgeseg.resize" in result.stdout


def test_help_loads_no_heavy_module() -> None:
    code = (
        "import sys, runpy; sys.argv = ['edgeseg', '--help']\n"
        "try: runpy.run_module('edgeseg', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'numpy', 'cv2', 'keras', 'tensorflow', 'pydantic', 'matplotlib', 'albumentations'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_tree_names_no_registry_host_and_no_private_path(project_root: Path) -> None:
    hosts = re.compile(r"pypi\." + r"org|python" + r"hosted|/root" + r"/|/work" + r"/")
    for file in _tracked(project_root, "."):
        path = project_root / file
        if path.suffix in {".png", ".jpg", ".mp4", ".npz"}:
            continue
        found = hosts.search(path.read_text(encoding="utf-8"))
        assert not found, f"{file}: {found.group() if found else ''}"


def test_no_part_of_the_project_is_a_catch_all(project_root: Path) -> None:
    names = {Path(file).name for file in _tracked(project_root, ".")}
    assert not names & {"utils.py", "helpers.py", "common.py", "misc.py"}


def _tracked(root: Path, *paths: str) -> list[str]:
    """Files of the project: those git tracks, or, outside a checkout, those that are there."""
    result = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *paths],
        cwd=root,
        capture_output=True,
        text=True,
    )
    files = result.stdout.split("\n") if result.returncode == 0 else []
    files = [f for f in files if f and (root / f).is_file() and not (root / f).is_symlink()]
    if not files:
        pytest.skip("not a git checkout")
    return files
