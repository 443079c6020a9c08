"""The decoded cache: right pixels, whole or not there, alone with its name, and honest about a full disk."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from edgeseg.cache_folder import cache_folder
from edgeseg.errors import CacheError, DataError, LabelError, UsageError
from edgeseg.training.data import Dataset, cache, open_dataset, prepare
from edgeseg.training.data.cache import open_cached


def left_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*")) if folder.exists() else []


@pytest.fixture
def dataset(make_folder) -> Dataset:
    return open_dataset(f"folder:{make_folder(count=8)}")


@pytest.mark.parametrize("workers", [1, 2])
def test_the_cache_holds_what_opencv_gives(dataset: Dataset, tmp_path: Path, workers: int) -> None:
    cached = prepare(dataset, "train", 12, 20, cache_dir=tmp_path / "cache", workers=workers)
    assert (cached.images.shape, cached.masks.shape) == ((8, 12, 20, 3), (8, 12, 20))
    for number, item in enumerate(dataset.items("train")):
        image = cv2.cvtColor(cv2.imread(str(item.image)), cv2.COLOR_BGR2RGB)
        mask = cv2.imread(str(item.mask), cv2.IMREAD_UNCHANGED)
        expected = cv2.resize(image, (20, 12), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(cached.images[number], expected)
        expected = cv2.resize(mask, (20, 12), interpolation=cv2.INTER_NEAREST_EXACT)
        np.testing.assert_array_equal(cached.masks[number], expected)
    assert cached.names == tuple(item.name for item in dataset.items("train"))
    assert cached.histogram.tolist() == [int((cached.masks == c).sum()) for c in range(3)]
    assert cached.ignored == 0
    assert cached.fingerprint == dataset.fingerprint("train")
    assert cached.labels.names == dataset.labels.names


def test_a_second_time_nothing_is_decoded(dataset: Dataset, tmp_path: Path) -> None:
    first = prepare(dataset, "train", 8, 8, cache_dir=tmp_path / "cache")
    told: list[object] = []
    again = prepare(
        dataset, "train", 8, 8, cache_dir=tmp_path / "cache", on_progress=lambda *a: told.append(a)
    )
    assert (again.path, told) == (first.path, [])
    assert left_in(tmp_path / "cache") == sorted([first.path.name, "images.npy", "masks.npy", "split.json"])


def test_another_size_mapping_or_content_is_another_cache(make_folder, tmp_path: Path) -> None:
    root, folder = make_folder(count=3), tmp_path / "cache"

    def path(height: int = 8) -> Path:
        return prepare(open_dataset(f"folder:{root}"), "train", height, 8, cache_dir=folder).path

    paths = [path(), path(16)]
    (root / "labels.yaml").write_text("classes: [ground, road, {name: car, raw: [2, 3]}]")
    paths.append(path())
    mask = root / "train" / "masks" / "frame_001.png"
    cv2.imwrite(str(mask), cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)[:, ::-1])
    paths.append(path())
    assert len(set(paths)) == 4
    os.utime(mask, ns=(0, 2**62))
    assert path() not in paths


def test_a_new_place_or_colour_is_not_decoded_again(make_folder, tmp_path: Path) -> None:
    root = make_folder(count=2)
    first = prepare(open_dataset(f"folder:{root}"), "train", 8, 8, cache_dir=tmp_path / "cache")
    root = root.rename(tmp_path / "moved")
    (root / "labels.yaml").write_text("classes: [ground, road, {name: car, color: [1, 2, 3]}]")
    again = prepare(open_dataset(f"folder:{root}"), "train", 8, 8, cache_dir=tmp_path / "cache")
    assert again.path == first.path
    assert (again.labels.name, again.labels.classes[2].color) == ("moved", (1, 2, 3))


def test_a_script_without_a_main_guard_is_told_so(dataset: Dataset, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from edgeseg.training.data import open_dataset, prepare\n"
        f"prepare(open_dataset({dataset.spec!r}), 'train', 8, 8, cache_dir=Path(__file__).parent / 'cache',"
        " workers=2)\n"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 1
    assert "DataError: a worker process: expected it to finish" in ended.stderr
    assert "if __name__ ==" in ended.stderr
    assert left_in(tmp_path / "cache") == []


def test_a_cached_split_goes_to_another_process_by_its_path(dataset: Dataset, tmp_path: Path) -> None:
    cached = prepare(dataset, "val", 8, 8, cache_dir=tmp_path / "cache")
    sent = pickle.dumps(cached)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent).images, cached.images)
    assert not cached.images.flags.writeable


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_file_stops_it_and_leaves_nothing(dataset: Dataset, tmp_path: Path, workers: int) -> None:
    item = dataset.items("train")[5]
    folder = tmp_path / "cache"
    item.image.write_bytes(item.image.read_bytes()[:40])
    with pytest.raises(DataError, match=r"frame_005\.png.*cut short"):
        prepare(dataset, "train", 8, 8, cache_dir=folder, workers=workers)
    cv2.imwrite(str(item.image), np.zeros((24, 30, 3), np.uint8))
    with pytest.raises(DataError, match="24x30, found 24x32"):
        prepare(dataset, "train", 8, 8, cache_dir=folder, workers=workers)
    cv2.imwrite(str(item.mask), np.full((24, 30), 9, np.uint8))
    with pytest.raises(LabelError, match=r"frame_005\.png.*ids 9"):
        prepare(dataset, "train", 8, 8, cache_dir=folder, workers=workers)
    assert left_in(folder) == []


def test_an_interrupt_leaves_nothing(dataset: Dataset, tmp_path: Path) -> None:
    def interrupt(finished: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(dataset, "train", 8, 8, cache_dir=tmp_path / "cache", on_progress=interrupt)
    assert left_in(tmp_path / "cache") == []


def test_what_a_killed_process_left_is_not_taken_for_whole(dataset: Dataset, tmp_path: Path) -> None:
    script = (
        "import os, signal\nfrom pathlib import Path\n"
        "from edgeseg.training.data import open_dataset, prepare\n"
        "die = lambda done, total: os.kill(os.getpid(), signal.SIGKILL) if done == 3 else None\n"
        f"prepare(open_dataset({dataset.spec!r}), 'train', 8, 8, cache_dir=Path({str(tmp_path / 'cache')!r}),"
        " workers=1, on_progress=die)"
    )
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert any(name.endswith(".part") for name in left_in(tmp_path / "cache"))
    cached = prepare(dataset, "train", 8, 8, cache_dir=tmp_path / "cache")
    assert len(cached) == 8
    assert left_in(tmp_path / "cache") == sorted([cached.path.name, "images.npy", "masks.npy", "split.json"])


def test_several_at_once_decode_once(dataset: Dataset, tmp_path: Path) -> None:
    decoded: list[int] = []

    def ask(_: int) -> Path:
        told = lambda done, total: decoded.append(done)  # noqa: E731
        return prepare(dataset, "train", 8, 8, cache_dir=tmp_path / "cache", workers=1, on_progress=told).path

    with ThreadPoolExecutor(6) as pool:
        paths = set(pool.map(ask, range(6)))
    assert len(paths) == 1
    assert decoded == list(range(1, 9))
    assert not [name for name in left_in(tmp_path / "cache") if name.startswith(".")]


def test_too_little_space_is_said_before_anything_is_decoded(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=500_000))
    with pytest.raises(CacheError, match=r"MB free for the decoded images, found 0 MB.*EDGESEG_CACHE"):
        prepare(dataset, "train", 256, 256, cache_dir=tmp_path / "cache")
    assert left_in(tmp_path / "cache") == []


@pytest.mark.parametrize("call", ["posix_fallocate", "fsync"])
def test_a_disk_that_fills_up_leaves_nothing(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(CacheError, match=r"No space left on device.*Make room") as caught:
        prepare(dataset, "train", 8, 8, cache_dir=tmp_path / "cache")
    assert caught.value.exit_code == 3
    assert left_in(tmp_path / "cache") == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mount.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_really_full_disk_leaves_nothing(
    dataset: Dataset, tiny_disk: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    with pytest.raises(CacheError, match="found 1 MB"):
        prepare(dataset, "train", 256, 256, cache_dir=tiny_disk, workers=workers)
    monkeypatch.setattr(cache, "_require_space", lambda *_: None)
    with pytest.raises(CacheError, match="No space left on device"):
        prepare(dataset, "train", 256, 256, cache_dir=tiny_disk, workers=workers)
    # Without the reservation the writes themselves fail, in the workers.
    monkeypatch.setattr(os, "posix_fallocate", lambda *_: None)
    with pytest.raises(CacheError, match="No space left on device"):
        prepare(dataset, "train", 256, 256, cache_dir=tiny_disk, workers=workers)
    assert left_in(tiny_disk) == []


def test_a_size_of_nothing_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a positive size, found 0x8"):
        prepare(dataset, "train", 0, 8, cache_dir=tmp_path / "cache")


def test_a_place_that_is_no_folder_is_named(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match="a folder that can be written"):
        prepare(dataset, "train", 8, 8, cache_dir=tmp_path / "file" / "cache")


@pytest.mark.parametrize("name", ["images.npy", "masks.npy", "split.json"])
def test_a_damaged_cache_says_what_to_delete(dataset: Dataset, tmp_path: Path, name: str) -> None:
    cached = prepare(dataset, "train", 8, 8, cache_dir=tmp_path / "cache")
    file = cached.path / name
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(CacheError, match="Delete this folder"):
        open_cached(cached.path)


def test_the_default_place_follows_the_environment(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "mine"))
    assert prepare(dataset, "val", 8, 8).path.parent == tmp_path / "mine"
    monkeypatch.delenv("EDGESEG_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "edgeseg"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "edgeseg"


def test_synthetic_scenes_are_cached_as_they_are_drawn(tmp_path: Path) -> None:
    dataset = open_dataset("synthetic:train=2,val=1,size=64x96,seed=3")
    cached = prepare(dataset, "train", 64, 96, cache_dir=tmp_path)
    for number, sample in enumerate(dataset.samples("train")):
        np.testing.assert_array_equal(cached.images[number], sample.image)
        np.testing.assert_array_equal(cached.masks[number], sample.mask)
    other = open_dataset("synthetic:train=2,val=1,size=64x96,seed=4")
    assert prepare(other, "train", 64, 96, cache_dir=tmp_path).path != cached.path
