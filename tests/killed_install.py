"""Kill an install or a rollback before each change that it makes: ``killed_install.py FOLDER VERB``.

FOLDER holds the bundles ``one``, ``two`` and ``three``. For each step in turn a fresh installation, with
``two`` active after ``one`` (with the verb ``first``: nothing), is changed by a process that is killed just
before that step; then the same is done again by one that is not. What each left is printed as JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

import edgeseg
from edgeseg.bundle import Bundle
from edgeseg.errors import EdgesegError
from edgeseg.installation import install_bundle, roll_back

# What Python reports of itself before it does it, of all that changes a folder.
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate", "open"}


def main() -> None:
    home, verb = Path(sys.argv[1]), sys.argv[2]
    template = home / f"{verb}-template"
    template.mkdir()
    for name in ("one", "two") if verb != "first" else ():
        install_bundle(home / name, template, isolate=False)
    results, step = [], 0
    while not results or results[-1]["killed"]:
        place = home / f"{verb}-{step}"
        shutil.copytree(template, place, symlinks=True)
        results.append({"step": step, **_attempt(home, place, verb, step)})
        shutil.rmtree(place)
        step += 1
    json.dump(results, sys.stdout)


def _attempt(home: Path, place: Path, verb: str, step: int) -> dict[str, Any]:
    child = os.fork()
    if not child:
        _kill_before(place, step)
        _act(home, place, verb)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    active = _active(place)
    # The same once more, as who sees it fail does.
    try:
        _act(home, place, verb)
        error = None
    except EdgesegError as caught:
        error = type(caught).__name__
    return {"killed": killed, "active": active, "error": error, "again": _state(place)}


def _state(place: Path) -> dict[str, Any]:
    previous = place / "previous"
    return {
        "active": _active(place),
        "previous": Bundle.open(previous).manifest.name if previous.exists() else None,
        "versions": len(list((place / "versions").iterdir())),
        "left": sorted(p.name for p in place.iterdir() if p.name.startswith(".staged")),
        "minimum": (place / "minimum.json").exists(),
    }


def _act(home: Path, place: Path, verb: str) -> None:
    if verb != "rollback":
        install_bundle(home / "three", place, isolate=False, raise_minimum=True)
    else:
        roll_back(place, isolate=False)


def _active(place: Path) -> str | None:
    """The name of the bundle that a camera loop would run now; it is loaded with all checks."""
    if not os.path.lexists(place / "current"):
        return None
    with edgeseg.load(place / "current", threads=1) as segmenter:
        segmenter(np.zeros((32, 64, 3), np.uint8))
        return segmenter.bundle.manifest.name


def _kill_before(place: Path, step: int) -> None:
    seen: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _CHANGES or not _changes(event, arguments, str(place)):
            return
        if len(seen) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        seen.append(event)

    sys.addaudithook(hook)


def _changes(event: str, arguments: tuple[Any, ...], place: str) -> bool:
    paths = [str(argument) for argument in arguments if isinstance(argument, (str, Path))]
    if event == "open":
        return paths[0].startswith(place) and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
    # A folder is removed by names inside of it.
    return any(path.startswith(place) or not Path(path).is_absolute() for path in paths)


if __name__ == "__main__":
    main()
