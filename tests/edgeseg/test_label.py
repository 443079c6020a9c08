"""Labelling in one process: what is in the shards, what is wrong with them, going on, and refusing."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edgeseg
from edgeseg.bundle import Bundle
from edgeseg.camera import read_image
from edgeseg.cli.label import label as label_verb
from edgeseg.cli.label import label_check
from edgeseg.errors import DataError, EdgesegError, InferenceError, MissingExtraError, SourceError, UsageError
from edgeseg.labelling.cluster import LabelActor, on_ray
from edgeseg.labelling.cost import Footage, Rates, work_out
from edgeseg.labelling.labeller import Labeller
from edgeseg.labelling.manifest import LabelManifest, check_shards
from edgeseg.labelling.run import Outcome, in_one_process, label, make_plan
from edgeseg.labelling.shards import LabelledFrame, read_shard
from edgeseg.labelling.sources import find_sources
from edgeseg.lock import alone
from toys import read_frames

ROOT = Path(__file__).parents[2]
Label = Callable[..., Outcome]


@pytest.fixture
def fleet(tmp_path: Path, make_video: Callable[..., Path]) -> Path:
    """Seven images in two folders, one of them hidden, and a video of 12 frames."""
    source = tmp_path / "fleet"
    random = np.random.default_rng(0)
    for name in ("a/1.png", "a/2.v2.jpg", "a/3.png", "b/1.png", "b/2.png", "5.png", ".trash/6.png"):
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), random.integers(0, 256, (48, 80, 3)).astype(np.uint8))
    make_video("drive", frames=12).rename(source / "b/drive.MP4")
    (source / "notes.txt").write_text("no frame")
    return source


@pytest.fixture
def run(bundle: Path, tmp_path: Path) -> Label:
    """``run(source, bundle=..., **options)`` labels into ``tmp_path / "labels"`` in shards of 5."""

    def label_it(source: Path, bundle: Path = bundle, **options: Any) -> Outcome:
        options = {"shard_size": 5, **options}
        return label(
            make_plan(Bundle.open(bundle), source, tmp_path / "labels", **options), in_one_process(1)
        )

    return label_it


def test_each_frame_once_with_the_mask_that_the_bundle_gives(
    fleet: Path, run: Label, bundle: Path, tmp_path: Path
) -> None:
    manifest = run(fleet).manifest
    frames = _frames(tmp_path / "labels")
    images = ["5.png", "a/1.png", "a/2.v2.jpg", "a/3.png", "b/1.png", "b/2.png"]
    video = fleet / "b/drive.MP4"
    pictures = {f"{name}/00000000": read_image(fleet / name) for name in images}
    pictures |= {f"b/drive.MP4/{n:08d}": picture for n, picture in enumerate(read_frames(video)[0])}
    assert list(frames) == list(pictures)
    assert [shard.count for shard in manifest.shards] == [5, 1, 5, 5, 2]
    with edgeseg.load(bundle) as segmenter:
        for key, picture in pictures.items():
            assert np.array_equal(frames[key].mask, segmenter(picture).mask), key
    values = frames["b/drive.MP4/00000011"].values
    assert (values["source"], values["frame"]) == ("b/drive.MP4", 11)
    assert (values["height"], values["width"]) == (64, 128)
    assert values["bundle"] == Bundle.open(bundle).digest
    assert sum(values["area"].values()) == pytest.approx(1, abs=1e-4)
    assert frames["5.png/00000000"].image is None
    assert manifest.frames == 18
    assert [c.name for c in manifest.classes] == ["red", "green", "blue"]


def test_two_commands_do_not_work_on_one_job(fleet: Path, run: Label, tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    run(fleet)
    begun = folder / "shards" / ".labels-000000-00001.0123abcd.part.tar"
    counted = folder / "shards" / "..labels-000000-00001.0123abcd.part.attempts"
    begun.write_bytes(b"begun")
    counted.write_bytes(b"1")
    with alone(folder, "a job"), pytest.raises(UsageError, match="expected a job that nobody works on"):
        run(fleet)
    assert begun.exists(), "nothing of the other's was touched"
    assert run(fleet).labelled == 0
    assert not begun.exists()
    assert not counted.exists()


def test_a_source_that_is_not_there_ends_the_job_and_is_not_called_broken(
    fleet: Path, bundle: Path, tmp_path: Path
) -> None:
    """A folder that is not mounted on one machine is there, and empty."""
    folder = tmp_path / "labels"
    plan = make_plan(Bundle.open(bundle), fleet, folder, shard_size=5)
    away = fleet.rename(tmp_path / "away")
    fleet.mkdir()
    with pytest.raises(DataError, match=r"5\.png: expected the file that was found .* found No such file"):
        label(plan, in_one_process(1))
    assert not list((folder / "shards").glob("*.json"))
    fleet.rmdir()
    away.rename(fleet)
    assert label(plan, in_one_process(1)).labelled == 18


def test_a_folder_that_cannot_be_listed_is_told(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refusing(path: Any) -> Any:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(SourceError, match="b: expected a folder that can be listed, found Permission denied"):
        find_sources(fleet)


def test_equal_jobs_write_equal_bytes(fleet: Path, run: Label, tmp_path: Path) -> None:
    run(fleet)
    (tmp_path / "labels").rename(tmp_path / "first")
    run(fleet)
    assert _bytes(tmp_path / "labels") == _bytes(tmp_path / "first")


def test_stride_frames_and_confidence(
    make_video: Callable[..., Path], run: Label, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    video = make_video(frames=12)
    run(video, make_bundle("sure", output="mask+confidence"), stride=5, with_frames=True)
    frames = _frames(tmp_path / "labels")
    assert list(frames) == [f"drive.mp4/{n:08d}" for n in (0, 5, 10)]
    frame = frames["drive.mp4/00000010"]
    assert frame.image is not None
    assert np.abs(frame.image.astype(int) - read_frames(video)[0][10]).mean() < 3
    assert 0 < frame.values["confidence"] <= 1
    assert frame.values["class_confidence"].keys() <= {"red", "green", "blue"}


def test_what_cannot_be_read_is_told_and_stops_nothing(fleet: Path, bundle: Path, tmp_path: Path) -> None:
    (fleet / "a/2.v2.jpg").write_bytes(b"no picture")
    (fleet / "none.mp4").write_bytes(b"no video")
    (fleet / "short.avi").write_bytes(_truncated_avi(tmp_path))
    folder = tmp_path / "labels"
    with pytest.raises(SourceError, match=r"a/2.v2.jpg: 10 bytes that do not decode; .*All else is labelled"):
        label_verb(fleet, folder, bundle, shard_size=1000)
    manifest = LabelManifest.read(folder / "manifest.json")
    failed = {failure.source: failure for failure in manifest.failed}
    assert failed.keys() == {"a/2.v2.jpg", "none.mp4", "short.avi"}
    assert 0 < failed["short.avi"].frame < 60
    keys = list(_frames(folder))
    assert len(keys) == manifest.frames == 5 + 12 + failed["short.avi"].frame
    assert "b/drive.MP4/00000011" in keys
    label_check(folder)


def test_the_same_command_labels_only_what_is_missing_or_damaged(
    fleet: Path, run: Label, tmp_path: Path
) -> None:
    run(fleet)
    folder = tmp_path / "labels"
    whole = _bytes(folder)
    assert run(fleet).labelled == 0
    names = sorted(path.stem for path in (folder / "shards").glob("*.tar"))
    damaged, missing, unsaid = (folder / "shards" / name for name in (names[0], names[2], names[3]))
    data = bytearray(damaged.with_suffix(".tar").read_bytes())
    data[700] ^= 1
    damaged.with_suffix(".tar").write_bytes(data)
    missing.with_suffix(".tar").unlink()
    unsaid.with_suffix(".json").write_text("{")
    (folder / "shards/.labels-000001-00000.0123abcd.part.tar").write_bytes(b"of one that was killed")
    assert run(fleet).labelled == 15
    assert _bytes(folder) == whole


def test_another_job_is_refused(
    fleet: Path, run: Label, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    run(fleet)
    whole = _bytes(tmp_path / "labels")
    with pytest.raises(UsageError, match=r"bundle_digest .*masks of two jobs are never mixed"):
        run(fleet, make_bundle("other"))
    with pytest.raises(UsageError, match="shard_size 5, found shard_size 6"):
        run(fleet, shard_size=6)
    (fleet / "new.png").write_bytes((fleet / "5.png").read_bytes())
    with pytest.raises(UsageError, match=r"sources_digest .*sources 7.*sources 8"):
        run(fleet)
    assert _bytes(tmp_path / "labels") == whole


def test_a_folder_of_something_else_is_refused(fleet: Path, run: Label, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match=r"new or empty folder.*found other files"):
        run(fleet)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda shards: shards[0].unlink(), "is missing"),
        (lambda shards: shards[0].write_bytes(shards[1].read_bytes()), "other bytes"),
        (
            lambda shards: shards[0].with_name("labels-000009-00000.tar").write_bytes(b""),
            "is not in manifest",
        ),
    ],
)
def test_check_finds_what_is_wrong(
    harm: Callable[[list[Path]], object], said: str, fleet: Path, run: Label, tmp_path: Path
) -> None:
    run(fleet)
    label_check(tmp_path / "labels")
    harm(sorted((tmp_path / "labels/shards").glob("*.tar")))
    with pytest.raises(DataError, match=rf"18 frames in 5 whole shards, found .*{said}"):
        label_check(tmp_path / "labels")


def test_check_finds_a_frame_that_is_there_twice(fleet: Path, run: Label, tmp_path: Path) -> None:
    manifest = run(fleet).manifest
    twice = manifest.model_copy(update={"shards": (*manifest.shards, manifest.shards[0])})
    found = [fault for fault in check_shards(twice, tmp_path / "labels") if fault]
    assert found == [f"{manifest.shards[0].file} holds 5.png/00000000 again"]


def test_check_of_an_unfinished_job(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest.json: .*nothing there"):
        label_check(tmp_path)


def test_a_full_disk_is_one_message_and_leaves_nothing_half_written(bundle: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the system refuses the same calls."""
    source = tmp_path / "noise.png"
    cv2.imwrite(str(source), np.random.default_rng(0).integers(0, 256, (400, 400, 3)).astype(np.uint8))
    result = subprocess.run(
        _command(source, tmp_path / "labels", bundle), capture_output=True, text=True, env=_environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )  # fmt: skip
    assert result.returncode == 2, result.stderr
    assert "File too large" in result.stderr
    assert "Traceback" not in result.stderr
    assert {path.name for path in (tmp_path / "labels").rglob("*")} == {"job.json", "shards"}


@pytest.mark.heavy
def test_a_killed_process_goes_on_and_repeats_nothing(
    fleet: Path, run: Label, bundle: Path, tmp_path: Path
) -> None:
    folder, notes = tmp_path / "killed", tmp_path / "notes"
    environment = _environment(EDGESEG_TEST_LABELLED=str(notes), EDGESEG_TEST_SECONDS="0.2")
    process = subprocess.Popen(_command(fleet, folder, bundle), env=environment)
    deadline = time.monotonic() + 120
    while len(list(folder.glob("shards/labels-*.json"))) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {
        frame.key
        for record in folder.glob("shards/labels-*.json")
        for frame in read_shard(record.with_suffix(".tar"))
    }
    assert subprocess.run(_command(fleet, folder, bundle), env=environment).returncode == 0
    noted = [line.split()[0] for line in notes.read_text().splitlines()]
    assert {noted.count(key) for key in finished} == {1}
    run(fleet)
    assert _bytes(folder) == _bytes(tmp_path / "labels")


@pytest.mark.heavy
def test_two_actors_of_a_local_ray_write_the_same_bytes(
    fleet: Path, run: Label, bundle: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="the extra 'scale' is not installed")
    result = subprocess.run(
        [*_command(fleet, tmp_path / "spread", bundle), "--ray", "local", "--actors", "2", "--json"],
        capture_output=True, text=True, env=_environment(OMP_NUM_THREADS="1"), timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["labelled_now"] == 18
    run(fleet)
    assert _bytes(tmp_path / "spread") == _bytes(tmp_path / "labels")


def test_no_sources(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="found nothing there"):
        find_sources(tmp_path / "nowhere")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(SourceError, match="found none in it"):
        find_sources(tmp_path)


def test_a_cluster_that_does_not_answer_is_one_message(fleet: Path, bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra 'scale' is not installed")
    plan = make_plan(Bundle.open(bundle), fleet, tmp_path / "labels")
    with pytest.raises(UsageError, match=r"--ray 127.0.0.1:1: expected a Ray cluster that answers"):
        label(plan, on_ray("127.0.0.1:1", None, 1))


def test_actors_without_a_cluster(fleet: Path, bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--actors: expected --ray beside it"):
        label_verb(fleet, tmp_path / "labels", bundle, actors=2)


def test_without_ray(fleet: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgeseg\[scale\]'"):
        label_verb(fleet, tmp_path / "labels", bundle, ray="auto")


def test_an_actor_hands_back_what_is_wrong_with_its_machine(
    fleet: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that does not see the folders, and one with another edgeseg."""
    ray = pytest.importorskip("ray", reason="the extra 'scale' is not installed")
    import pickle

    monkeypatch.setattr(ray, "get", lambda given: given)
    plan = make_plan(Bundle.open(bundle), fleet, tmp_path / "labels")
    shared = {"plan": (plan.job, plan.place, plan.bundle)}
    row = {"unit": pickle.dumps(plan.units[0])}

    def said(version: str) -> EdgesegError:
        error = pickle.loads(LabelActor(shared, 1, version)(row)["result"])
        assert isinstance(error, EdgesegError)
        return error

    assert "storage that every machine mounts" in str(said(edgeseg.__version__))
    assert "Install one version on all machines" in str(said("0.0.9"))


def test_a_shard_on_which_worker_after_worker_died_ends_the_job(
    fleet: Path, run: Label, bundle: Path, tmp_path: Path
) -> None:
    plan = make_plan(Bundle.open(bundle), fleet, tmp_path / "labels", shard_size=5)
    plan.job.write(tmp_path / "labels/job.json")
    attempts = tmp_path / "labels/shards/.labels-000000-00000.attempts"
    attempts.parent.mkdir()
    attempts.write_text("6")
    labeller = Labeller(plan.job, plan.place, plan.bundle, 1)
    with pytest.raises(InferenceError, match=r"labels-000000-00000: .*6 that died, labelling 5.png and"):
        labeller.label(plan.units[0])
    assert run(fleet).labelled == 18, "another command tries again"
    assert not attempts.exists()


def test_a_million_hours() -> None:
    """25 frames/s, each 25th: 3.6e9 frames; at 50 a second 20,000 machine-hours."""
    cost = work_out(Footage(1e6, 25), Rates(50, 10_000, stride=25), machines=100, price_per_hour=0.5)
    assert cost.frames == 3.6e9
    assert cost.machine_hours == pytest.approx(20_000)
    assert cost.days == pytest.approx(20_000 / 2400)
    assert cost.price == pytest.approx(10_000)
    assert cost.storage_bytes == pytest.approx(36e12)


def _frames(folder: Path) -> dict[str, LabelledFrame]:
    shards = sorted((folder / "shards").glob("*.tar"))
    return {frame.key: frame for shard in shards for frame in read_shard(shard)}


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _command(source: Path, folder: Path, bundle: Path) -> list[str]:
    words = ["label", str(source), str(folder), "--bundle", str(bundle), "--shard-size", "5"]
    return [sys.executable, "-m", "edgeseg", *words]


def _environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'tests/label_watch'}:{ROOT}", **more}


def _truncated_avi(folder: Path) -> bytes:
    """60 frames are promised, and the file ends in about the middle of them."""
    path = folder / "whole.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (64, 48))
    for _ in range(60):
        writer.write(np.random.default_rng(1).integers(0, 256, (48, 64, 3)).astype(np.uint8))
    writer.release()
    data = path.read_bytes()
    return data[: len(data) // 2]
