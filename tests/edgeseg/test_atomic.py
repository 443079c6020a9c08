from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from edgeseg.atomic import atomic_file, atomic_folder, check_writable, clear_leftovers, write_text
from edgeseg.errors import OutputError


class Interrupted(BaseException):
    """Stands for Ctrl-C: no ordinary except sees it."""


def test_folder_appears_whole(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "deep" / "result") as staging:
        (staging / "sub").mkdir()
        (staging / "sub" / "a.txt").write_text("a")
        assert not (tmp_path / "deep" / "result").exists()
    assert (tmp_path / "deep" / "result" / "sub" / "a.txt").read_text() == "a"
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["result"]


@pytest.mark.parametrize("error", [OSError, Interrupted])
def test_interrupted_folder_leaves_the_old_one(tmp_path: Path, error: type[BaseException]) -> None:
    old = tmp_path / "result"
    old.mkdir()
    (old / "a.txt").write_text("old")
    with pytest.raises(error), atomic_folder(old) as staging:
        (staging / "a.txt").write_text("new")
        raise error
    assert (old / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["result"]


def test_folder_replaces_another(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "result") as staging:
            (staging / content).write_text(content)
    assert [p.name for p in (tmp_path / "result").iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["result"]


def test_file_keeps_its_suffix_while_staged(tmp_path: Path) -> None:
    """Encoders choose their format by the name's end."""
    with atomic_file(tmp_path / "video.mp4") as staging:
        assert staging.suffix == ".mp4"
        staging.write_bytes(b"frames")
    assert (tmp_path / "video.mp4").read_bytes() == b"frames"


def test_interrupted_file_leaves_the_old_one(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(Interrupted), atomic_file(tmp_path / "a.txt") as staging:
        staging.write_text("half")
        raise Interrupted
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "old")]


@pytest.mark.parametrize("place", ["file/a.txt", "folder", "/proc/none/a.txt", "", "/"])
def test_a_place_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("a file")
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with pytest.raises(OutputError, match="expected a place that can be written") as caught:
        write_text(Path(place), "text")
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith(str(Path(place)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_the_errno_is_kept(tmp_path: Path) -> None:
    """The cache tells a full disk from the rest by it."""
    with pytest.raises(OSError, match="No space left") as caught, atomic_folder(tmp_path / "result"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.errno == errno.ENOSPC


def test_asking_whether_a_place_can_be_written_leaves_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path)
    check_writable(tmp_path / "new" / "deep")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("a file")
    for place in (tmp_path / "file", tmp_path / "file" / "deep", Path("/proc/none")):
        with pytest.raises(OutputError):
            check_writable(place)


def test_what_a_killed_process_left_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    destination = tmp_path / "best[1].keras"
    left = []
    with pytest.raises(KeyboardInterrupt), atomic_file(destination) as staging:
        staging.write_text("half")
        left.append(staging.rename(tmp_path / f"{staging.name}x"))
        raise KeyboardInterrupt
    leftover = left[0].rename(str(left[0])[:-1])
    others = [tmp_path / name for name in ("best[1].keras", "best1.keras", ".other.0123abcd.part.keras")]
    for other in others:
        other.touch()
    clear_leftovers(destination)
    assert not leftover.exists()
    assert all(other.exists() for other in others)
