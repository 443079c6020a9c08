"""Networks that make labelled images: what each learns by, what is made, and what of it a rerun repeats."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg.errors import DataError, OutputError, UnknownNameError, UsageError
from edgeseg.lock import alone
from edgeseg.training.data import check_dataset, open_dataset, prepare
from edgeseg.training.fit import train
from edgeseg.training.generative import GANS, build_game
from edgeseg.training.generative.distance import FEATURES, frechet_distance, image_distance
from edgeseg.training.generative.folder import GenerateFolder
from edgeseg.training.generative.game import Game, layout
from edgeseg.training.generative.masks import joined, new_masks
from edgeseg.training.generative.pairs import draw_noise
from edgeseg.training.generative.run import Watch, generate
from edgeseg.training.generative.sagan import OneClass
from edgeseg.training.generative.settings import Settings, make_settings

CLASSES, SIDE = 3, 32
EPOCHS = 2


def batch(game: Game) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(1)
    masks = rng.integers(0, CLASSES, (2, SIDE, SIDE)).astype(np.uint8)
    masks[:, :4] = 255
    return draw_noise(game, 2, 1), rng.integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.uint8), masks


def built(name: str) -> Game:
    return build_game(name, CLASSES, SIDE, SIDE, 2)


@pytest.fixture
def settings(bands: str) -> Callable[..., Settings]:
    def make(**changes: Any) -> Settings:
        values = {"gan": "pix2pix", "data": bands, "size": [SIDE, SIDE], "channels": 2, "count": 6}
        return make_settings({**values, "epochs": EPOCHS, "batch": 8, **changes})

    return make


def quiet(on_step: Callable[[int], None] = lambda _: None) -> Watch:
    return Watch(lambda *_: None, lambda finished, _: on_step(finished), lambda *_: None, lambda _: None)


@pytest.mark.heavy
@pytest.mark.parametrize("name", GANS)
def test_one_step_teaches_both_networks(name: str) -> None:
    game = built(name)
    before = {network: network.get_weights() for network in (game.generator, game.discriminator)}
    losses = game.step(*batch(game))
    assert np.isfinite(losses).all()
    for network, weights in before.items():
        changed = [(a != b).any() for a, b in zip(weights, network.get_weights(), strict=True) if a.size > 1]
        assert np.mean(changed) > 0.8


@pytest.mark.heavy
def test_each_player_moves_its_own_network_alone() -> None:
    game = built("pix2pix")
    given = batch(game)
    generator, discriminator = game.generator.get_weights(), game.discriminator.get_weights()
    game.discriminating.train_on_batch(given)
    # But for the state of the dropout.
    assert all(
        (a == b).all() or a.dtype.kind in "iu"
        for a, b in zip(generator, game.generator.get_weights(), strict=True)
    )
    moved = game.discriminator.get_weights()
    assert any((a != b).any() for a, b in zip(discriminator, moved, strict=True))
    game.generating.train_on_batch(given)
    assert all((a == b).all() for a, b in zip(moved, game.discriminator.get_weights(), strict=True))


def test_what_pix2pix_makes_changes_with_the_mask_where_it_changed() -> None:
    game = built("pix2pix")
    noise, _, masks = batch(game)
    other = masks.copy()
    other[0] = 1
    images, kept = game.make(noise, masks)
    changed, _ = game.make(noise, other)
    assert images.shape == (2, SIDE, SIDE, 3)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(kept, masks)
    difference = np.abs(images.astype(int) - changed).mean(axis=(1, 2, 3))
    # The other one differs by its dropout alone.
    assert difference[0] > 2 * difference[1]


def test_what_sagan_makes_changes_with_the_noise_and_has_a_mask() -> None:
    game = built("sagan")
    noise, _, masks = batch(game)
    images, made = game.make(noise, masks)
    again, _ = game.make(noise, masks)
    np.testing.assert_array_equal(images, again)
    assert (images[0] != images[1]).any()
    assert made.shape == masks.shape
    assert {*np.unique(made)} <= {0, 1, 2, 255}


def test_what_is_ignored_is_a_class_of_its_own_to_the_networks() -> None:
    shares = np.asarray(layout(np.array([[[0, 2, 255]]], np.uint8), CLASSES))
    assert shares[0, 0].argmax(axis=-1).tolist() == [0, 2, CLASSES]


def test_the_likeliest_class_is_seen_whole_and_learns_as_a_share() -> None:
    import tensorflow as tf

    shares = tf.constant([[0.2, 0.5, 0.3]])
    with tf.GradientTape() as tape:
        tape.watch(shares)
        seen = OneClass()(shares)
        loss = tf.reduce_sum(seen * [[1.0, 2.0, 3.0]])
    assert np.allclose(seen, [[0, 1, 0]])
    assert np.allclose(tape.gradient(loss, shares), [[1, 2, 3]])


def test_masks_are_joined_where_they_differ_least() -> None:
    left, right = np.zeros((4, 16), np.uint8), np.ones((4, 16), np.uint8)
    right[:, 7] = 0
    whole = joined(left, right)
    # Column 6 of the one meets column 7 of the other, which is like it.
    assert whole[0].tolist() == [0] * 8 + [1] * 8


def test_new_masks_are_the_seed_s_and_hold_no_new_class() -> None:
    masks = np.random.default_rng(0).integers(3, 6, (5, 8, 16)).astype(np.uint8)
    made = new_masks(masks, 12, np.random.default_rng(7))
    np.testing.assert_array_equal(made, new_masks(masks, 12, np.random.default_rng(7)))
    assert made.shape == (12, 8, 16)
    assert {*np.unique(made)} == {3, 4, 5}
    known = [m.tobytes() for mask in masks for m in (mask, np.ascontiguousarray(mask[:, ::-1]))]
    new = [mask.tobytes() not in known for mask in made]
    assert 2 <= sum(new) <= 10


def test_the_distance_of_normal_samples_is_that_of_their_means_and_spreads() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(4000, 3))
    assert frechet_distance(samples, samples) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(samples, samples + np.array([1, 2, 0])) == pytest.approx(5, abs=1e-6)
    assert frechet_distance(samples, 2 * samples) == pytest.approx(3, rel=0.1)
    assert frechet_distance(samples[:5], samples) is None


def test_noise_is_farther_from_pictures_than_they_are_from_each_other() -> None:
    rng = np.random.default_rng(0)
    shades = rng.integers(0, 256, (4 * FEATURES, 1, 1, 3))
    real = np.clip(shades + rng.normal(0, 8, (4 * FEATURES, 16, 16, 3)), 0, 255).astype(np.uint8)
    noise = rng.integers(0, 256, real.shape).astype(np.uint8)
    found = image_distance(noise, real)
    assert found["generated"] > 10 * found["real_halves"]
    assert image_distance(noise[:5], real)["generated"] is None


@pytest.mark.heavy
def test_a_run_leaves_pairs_that_train_takes(
    settings: Callable[..., Settings], tiny_recipe, tmp_path: Path
) -> None:
    folder = GenerateFolder(tmp_path / "run")
    summary = generate(settings(), folder, quiet())
    assert json.loads(folder.summary.read_text()) == summary
    assert [row.epoch for row in folder.read_rows(EPOCHS)] == [1, 2]
    assert sorted(path.name for path in (tmp_path / "run" / "grids").iterdir()) == [
        "epoch-001.png",
        "epoch-002.png",
    ]
    pairs = open_dataset(f"folder:{folder.pairs}")
    assert {name: len(items) for name, items in pairs.splits.items()} == {"train": 6, "val": 1}
    assert pairs.labels.names == ("ground", "sky", "box")
    assert check_dataset(pairs).ok
    image, mask = next((s.image, s.mask) for s in pairs.samples("train"))
    assert image.shape == (SIDE, SIDE, 3)
    assert (mask[-3:] == 255).all()
    extra = tiny_recipe(extra_data=f"folder:{folder.pairs}", epochs=1)
    assert train(extra, tmp_path / "trained").summary["split"] == "val"


KILLED = """
import os, signal, sys
from pathlib import Path
from edgeseg.training.generative.folder import GenerateFolder
from edgeseg.training.generative.run import Watch, generate
from edgeseg.training.generative.settings import make_settings
import json
nothing = lambda *_: None
step = lambda finished, _: finished == 3 and os.kill(os.getpid(), signal.SIGKILL)
settings = make_settings(json.loads(sys.argv[1]))
generate(settings, GenerateFolder(Path(sys.argv[2])), Watch(nothing, step, nothing, nothing))
"""


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["pix2pix", pytest.param("sagan", marks=pytest.mark.large)])
def test_a_run_that_was_killed_ends_as_one_that_was_not(
    name: str, settings: Callable[..., Settings], tmp_path: Path
) -> None:
    """In the middle of the second epoch: two steps are one."""
    wanted = settings(gan=name)
    whole, cut = GenerateFolder(tmp_path / "whole"), GenerateFolder(tmp_path / "cut")
    generate(wanted, whole, quiet())
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, wanted.model_dump_json(), str(cut.path)],
        env=os.environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not cut.summary.exists()
    half = cut.weights.with_name(".last.part.weights.h5")
    half.write_bytes(b"half")
    generate(wanted, cut, quiet())
    assert not half.exists()
    for name, a, b in _weights(wanted, whole, cut):
        assert np.allclose(a, b, atol=1e-5), name
    for split in ("images", "masks"):
        files = [sorted((f.pairs / "train" / split).iterdir()) for f in (whole, cut)]
        assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]


def _weights(settings: Settings, *folders: GenerateFolder) -> list[Any]:
    games = []
    for folder in folders:
        games.append(built(settings.gan))
        folder.restore(games[-1])
    # But for the states of chance, which are set anew in each epoch.
    return [
        (a.path, np.asarray(a), np.asarray(b))
        for a, b in zip(*([*g.variables, *g.generating.optimizer.variables] for g in games), strict=True)
        if "seed_generator" not in a.path
    ]


def test_a_folder_of_another_run_or_of_something_else_is_refused(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    folder = GenerateFolder(tmp_path / "run")
    settings().write(folder.settings)
    folder.check(settings(epochs=9, count=50))
    with pytest.raises(UsageError, match="seed was 1 and is 2 now"):
        folder.check(settings(seed=2))
    settings(fingerprint="those").write(folder.settings)
    with pytest.raises(UsageError, match="fingerprint was those and is these now"):
        folder.check(settings(fingerprint="these"))
    folder.settings.write_text("gan: [")
    with pytest.raises(DataError, match=r"settings\.yaml"):
        folder.check(settings())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(UsageError, match="holds something else"):
        GenerateFolder(tmp_path / "mine").check(settings())


def test_two_commands_do_not_work_on_one_run(settings: Callable[..., Settings], tmp_path: Path) -> None:
    folder = GenerateFolder(tmp_path / "busy")
    asked = settings(epochs=1, count=1)
    learnt = prepare(open_dataset(asked.data), asked.split, *asked.size)
    asked.model_copy(update={"fingerprint": learnt.fingerprint}).write(folder.settings)
    before = folder.settings.read_bytes()
    with alone(folder.path, "a run"), pytest.raises(UsageError, match="expected a run that nobody works on"):
        generate(asked.model_copy(update={"epochs": 2}), folder, quiet())
    assert folder.settings.read_bytes() == before


def test_a_damaged_file_of_a_run_is_named(settings: Callable[..., Settings], tmp_path: Path) -> None:
    folder = GenerateFolder(tmp_path)
    folder.weights.parent.mkdir()
    folder.weights.write_bytes(b"half a file")
    with pytest.raises(DataError, match=r"last\.weights\.h5"):
        folder.restore(built("pix2pix"))
    with pytest.raises(DataError, match=r"losses\.csv: expected a row for each of the 2 epochs"):
        folder.read_rows(2)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"gan": "stylegan"}, UnknownNameError, "one of pix2pix, sagan"),
        ({"size": [40, 60]}, UsageError, "Use --size 32x64"),
        ({"epochs": 0}, UsageError, "--epochs"),
        ({"seed": -1}, UsageError, "--seed"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    settings: Callable[..., Settings], changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        settings(**changes)


def test_a_batch_larger_than_the_split_is_refused(settings: Callable[..., Settings], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 to the split's 16 images"):
        generate(settings(batch=17), GenerateFolder(tmp_path / "run"), quiet())


def test_a_place_that_cannot_be_written_is_named(settings: Callable[..., Settings], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        settings().write(tmp_path / "file" / "settings.yaml")


@pytest.mark.heavy
def test_the_verb_says_each_epoch_and_the_next_command(bands: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "edgeseg", "generate", "sagan", "--data", bands, "--size", "32x32",
         "--epochs", "1", "--channels", "2", "--count", "2", "--out", "made", "--json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["epochs"] == 1
    assert "Epoch 1/1  generator" in ended.stderr
    assert f"edgeseg train --data {bands} --extra-data folder:made/pairs" in ended.stderr
