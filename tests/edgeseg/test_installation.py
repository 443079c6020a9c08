"""Bundles on a vehicle: at every moment a whole one is active, and an old one does not come back."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeseg
from edgeseg.bundle import Bundle
from edgeseg.bundle.keys import write_key_pair
from edgeseg.bundle.signing import sign_bundle
from edgeseg.errors import (
    GoldenMismatchError,
    InstallationBusyError,
    InstallationError,
    MemberHashError,
    MinimumVersionError,
    OutputError,
    SignatureMissingError,
    TrialCrashedError,
)
from edgeseg.installation import install_bundle, parse_moment, roll_back
from edgeseg.runtimes import RUNTIMES
from faulty_runtimes import FaultyRuntime

Make = Callable[..., Path]


@pytest.fixture
def make(make_bundle: Make) -> Callable[[int], Path]:
    """``make(N)``: the bundle ``vN``, exported in the Nth month of 2025."""
    return lambda number, **changes: make_bundle(
        f"v{number}", created=f"2025-{number:02}-01T00:00:00+00:00", **changes
    )


@pytest.fixture
def car(tmp_path: Path) -> Path:
    return tmp_path / "opt" / "edgeseg"


def active(car: Path) -> str:
    with edgeseg.load(car / "current") as segmenter:
        return segmenter.bundle.manifest.name


def install(bundle: Path, car: Path, **options: Any) -> Any:
    return install_bundle(bundle, car, isolate=False, **options)


def test_versions_side_by_side_and_one_to_go_back_to(make: Make, car: Path) -> None:
    digests = []
    for number in (1, 2, 3):
        done = install(make(number), car)
        digests.append(done.digest)
        assert active(car) == f"v{number}"
    assert (car / "current").readlink() == Path(f"versions/v3-{digests[2][:12]}")
    assert (car / "previous").readlink() == Path(f"versions/v2-{digests[1][:12]}")
    assert len(list((car / "versions").iterdir())) == 2
    assert list(done.removed) == [f"v1-{digests[0][:12]}"]
    roll_back(car, isolate=False)
    assert active(car) == "v2"
    roll_back(car, isolate=False)
    assert active(car) == "v3"


def test_the_folder_can_be_moved(make: Make, car: Path, tmp_path: Path) -> None:
    install(make(1), car)
    car.rename(tmp_path / "elsewhere")
    assert active(tmp_path / "elsewhere") == "v1"


def test_installing_what_is_active_verifies_it_again(make: Make, car: Path) -> None:
    one, two = make(1), make(2)
    for bundle in (one, two, two):
        install(bundle, car)
    assert (active(car), Bundle.open(car / "previous").manifest.name) == ("v2", "v1")
    install(one, car)
    assert (active(car), Bundle.open(car / "previous").manifest.name) == ("v1", "v2")


def test_an_active_version_that_was_damaged_is_replaced(make: Make, car: Path) -> None:
    one, two = make(1), make(2)
    install(one, car)
    install(two, car)
    with (car / "current" / "model.onnx").open("ab") as file:
        file.write(b"x")
    install(two, car)
    assert active(car) == "v2"
    assert Bundle.open(car / "previous").manifest.name == "v1"
    assert len(list((car / "versions").iterdir())) == 2


def test_the_signed_one_replaces_the_unsigned(make: Make, car: Path, tmp_path: Path) -> None:
    bundle = make(1)
    install(bundle, car)
    private, public, fingerprint = write_key_pair(tmp_path / "key")
    with pytest.raises(SignatureMissingError):
        install(bundle, car, trusted_keys=[public])
    sign_bundle(bundle, private)
    done = install(bundle, car, trusted_keys=[public])
    assert done.signature == f"signed by {fingerprint}"
    assert Bundle.open(car / "current", [public]).signature.checked
    with pytest.raises(SignatureMissingError, match="versions"):
        roll_back(car, trusted_keys=[public], isolate=False)


# Refusing


def test_a_bundle_that_fails_its_checks_leaves_nothing(make: Make, car: Path, make_onnx: Any) -> None:
    install(make(1), car)
    weights = np.eye(3, dtype=np.float32)
    wrong = make_onnx(32, 64).replace(weights.tobytes(), weights[::-1].tobytes())
    with pytest.raises(GoldenMismatchError):
        install(make(2, model=wrong), car)
    assert active(car) == "v1"
    assert len(list((car / "versions").iterdir())) == 1
    assert not (car / "previous").exists()


def test_a_model_that_crashes_is_not_installed(
    make: Make, car: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(make(1), car)
    with monkeypatch.context() as patch:
        patch.setitem(RUNTIMES, "onnx", FaultyRuntime("segfaults"))
        with pytest.raises(TrialCrashedError):
            install_bundle(make(2), car)
    assert active(car) == "v1"
    install_bundle(make(3), car)
    assert active(car) == "v3"


def test_the_copy_is_what_is_verified(make: Make, car: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that does not keep what is written to it."""
    write = Path.write_bytes

    def worn(path: Path, data: bytes) -> int:
        return write(path, data[:-1] + bytes([data[-1] ^ 1]) if path.name == "model.onnx" else data)

    bundle = make(1)
    monkeypatch.setattr(Path, "write_bytes", worn)
    with pytest.raises(MemberHashError, match="versions"):
        install(bundle, car)
    assert not os.path.lexists(car / "current")
    assert not list((car / "versions").iterdir())


def test_a_full_disk(make: Make, car: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(make(1), car)
    bundle = make(2)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match="No space left"):
            install(bundle, car)
    assert active(car) == "v1"
    install(bundle, car)
    assert active(car) == "v2"
    assert len(list((car / "versions").iterdir())) == 2


def test_places_that_are_something_else(make: Make, tmp_path: Path) -> None:
    bundle = make(1)
    (tmp_path / "file").write_bytes(b"")
    home = tmp_path / "home"
    (home / "versions" / "mine").mkdir(parents=True)
    for place in (tmp_path / "file", home):
        with pytest.raises(InstallationError, match="an empty folder"):
            install(bundle, place)
    assert (home / "versions" / "mine").is_dir()
    for place in (tmp_path / "nothing", tmp_path):
        with pytest.raises(InstallationError, match="edgeseg install made"):
            roll_back(place)
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("target", ["/etc", "../../etc", "versions/../..", "versions/a/b", ""])
def test_links_that_lead_elsewhere(make: Make, car: Path, target: str) -> None:
    install(make(1), car)
    (car / "current").unlink()
    if target:
        (car / "current").symlink_to(target)
    else:
        (car / "current").mkdir()
    with pytest.raises(InstallationError, match="current"):
        install(make(2), car)
    assert len(list((car / "versions").iterdir())) == 1


def test_nothing_to_go_back_to(make: Make, car: Path) -> None:
    install(make(1), car)
    with pytest.raises(InstallationError, match="a previous version"):
        roll_back(car)
    assert active(car) == "v1"


def test_a_damaged_previous_version_is_not_gone_back_to(make: Make, car: Path) -> None:
    for number in (1, 2):
        install(make(number), car)
    (car / "previous" / "report.json").write_bytes(b"!!\n")
    with pytest.raises(MemberHashError):
        roll_back(car, isolate=False)
    assert active(car) == "v2"


# The minimum


def test_a_minimum_is_kept_and_never_lowered(make: Make, car: Path) -> None:
    one, two, three = make(1), make(2), make(3)
    install(one, car)
    assert install(two, car).minimum is None
    assert install(two, car, raise_minimum=True).minimum == datetime(2025, 2, 1, tzinfo=timezone.utc)
    with pytest.raises(MinimumVersionError, match=r"v1.*2025-02-01T00:00:00.* or later.*2025-01-01"):
        install(one, car)
    with pytest.raises(MinimumVersionError):
        roll_back(car, isolate=False)
    assert active(car) == "v2"
    install(three, car, raise_minimum=True)
    with pytest.raises(MinimumVersionError):
        install(two, car, raise_minimum=True)
    assert json.loads((car / "minimum.json").read_text()) == {"minimum": "2025-03-01T00:00:00+00:00"}


def test_a_minimum_for_this_time(make: Make, car: Path) -> None:
    with pytest.raises(MinimumVersionError):
        install(make(1), car, minimum=parse_moment("2025-01-02"))
    assert install(make(2), car, minimum=parse_moment("2025-02-01")).minimum is None


def test_a_minimum_that_cannot_be_read_lets_nothing_in(make: Make, car: Path) -> None:
    install(make(1), car, raise_minimum=True)
    for data in (b"", b"{}\n", b"{", b'{\n  "minimum": 5\n}\n', b'{\n  "minimum": "soon"\n}\n', b"[]\n"):
        (car / "minimum.json").write_bytes(data)
        with pytest.raises(InstallationError, match=r"minimum\.json"):
            install(make_again := car.parent.parent / "v1.edgeseg", car)
        assert make_again.is_dir()
    assert active(car) == "v1"


def test_a_bundle_that_does_not_say_when(make_bundle: Make, car: Path) -> None:
    bundle = make_bundle("odd", created="yesterday")
    install(bundle, car)
    with pytest.raises(MinimumVersionError, match="yesterday"):
        install(bundle, car, raise_minimum=True)


def test_moments() -> None:
    noon = datetime(2025, 1, 1, 12, tzinfo=timezone.utc)
    assert parse_moment("2025-01-01T12:00:00Z") == parse_moment("2025-01-01T12:00:00") == noon
    assert parse_moment("2025-01-01T14:00:00+02:00") == noon
    assert parse_moment("2025-01-01") == noon - timedelta(hours=12)
    for text in ("", "soon", "2025-13-01"):
        with pytest.raises(ValueError, match=r"."):
            parse_moment(text)


# At once, and interrupted


def test_two_at_once(make: Make, car: Path) -> None:
    one, two = make(1), make(2)
    install(one, car)
    with (car / ".edgeseg-install").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for act in (lambda: install(two, car), lambda: roll_back(car)):
            with pytest.raises(InstallationBusyError, match="another edgeseg install or rollback"):
                act()
        assert active(car) == "v1"
    install(two, car)


def test_everything_is_on_the_disk_before_it_is_activated(
    make: Make, car: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Power may fail as well: each file and folder is flushed before the link is turned, and after."""
    bundle, done = make(1), []
    flush, rename = os.fsync, Path.rename

    def fsync(descriptor: int) -> None:
        done.append(("flush", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        flush(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        done.append(("rename", Path(target).name))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", renamed)
    version = install(bundle, car).version
    files = [("flush", name) for name in ("model.onnx", "golden.npz", "report.json", "manifest.json")]
    placed = [("flush", ".staged"), ("rename", version), ("flush", "versions")]
    linked = [("rename", "current"), ("flush", "edgeseg")]
    assert done[-len(files) - 5 :] == [*files, *placed, *linked]
    assert ("flush", "opt") in done


@pytest.mark.heavy
@pytest.mark.parametrize("verb", ["install", "rollback", "first"])
def test_killed_at_every_step(make_bundle: Make, tmp_path: Path, project_root: Path, verb: str) -> None:
    """SIGKILL before each change: the old or the new one is active, and doing it again makes it right."""
    for month, name in enumerate(("one", "two", "three"), start=1):
        folder = make_bundle(name, created=f"2025-{month:02}-01T00:00:00+00:00")
        folder.rename(tmp_path / name)
    command = [sys.executable, project_root / "tests" / "killed_install.py", tmp_path, verb]
    environment = {**os.environ, "PYTHONPATH": str(project_root)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    *killed, whole = json.loads(done.stdout)
    assert not whole["killed"]
    assert len(killed) >= {"install": 20, "rollback": 6, "first": 12}[verb]
    old, new = {"install": ("two", "three"), "rollback": ("two", "one"), "first": (None, "three")}[verb]
    states = [result["active"] for result in [*killed, whole]]
    turned = states.index(new)
    assert states == [old] * turned + [new] * (len(states) - turned)
    for result in killed:
        again = result["again"]
        assert (again["active"], again["left"]) == (new, []), result
        if verb == "rollback":
            # It had gone back already when it was killed, and says so.
            assert result["error"] in ({None} if result["active"] == old else {"InstallationError"})
        else:
            expected = {"previous": old, "versions": 2 if old else 1, "minimum": True}
            assert {key: again[key] for key in expected} == expected
            assert result["error"] is None
