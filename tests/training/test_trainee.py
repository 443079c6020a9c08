"""What a run trains beside a plain loss: auxiliary heads, a teacher, windows, averaged weights."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import pytest
from keras import ops

from edgeseg.errors import DataError, UsageError
from edgeseg.training import network as networks
from edgeseg.training.checkpoint import load_checkpoint, load_trainable, save_checkpoint
from edgeseg.training.checkpoint_info import read_info
from edgeseg.training.compilation import make_trainee
from edgeseg.training.data import CachedSplit, open_dataset, prepare
from edgeseg.training.fit import resume, train
from edgeseg.training.losses import loss_function
from edgeseg.training.losses.distillation import DISTILLATIONS, channel, pixel
from edgeseg.training.losses.named import NamedLoss
from edgeseg.training.metrics import MeanIoU
from edgeseg.training.models import inference_model
from edgeseg.training.network import choose_precision, empty_network, new_network
from edgeseg.training.observer import Observer
from edgeseg.training.recipe import Recipe
from edgeseg.training.run_folder import RunFolder
from edgeseg.training.teacher import open_teacher
from edgeseg.training.trainee import Trainee


@pytest.fixture(scope="module")
def cached(bands: str, tmp_path_factory: pytest.TempPathFactory) -> CachedSplit:
    return prepare(open_dataset(bands), "train", 16, 16, cache_dir=tmp_path_factory.mktemp("cache"))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


class TestDistillation:
    @pytest.mark.parametrize("temperature", [1.0, 3.0])
    def test_is_the_divergence_by_hand(self, temperature: float) -> None:
        rng = np.random.default_rng(0)
        teacher, student = rng.normal(size=(2, 2, 3, 4, 5)) * 3
        p, q = softmax(teacher / temperature), softmax(student / temperature)
        expected = temperature**2 * (p * np.log(p / q)).sum(axis=-1).mean()
        found = pixel(teacher.astype(np.float32), student.astype(np.float32), temperature)
        assert float(found) == pytest.approx(expected, rel=1e-4)

    @pytest.mark.parametrize("temperature", [1.0, 3.0])
    def test_by_channel_is_the_divergence_by_hand(self, temperature: float) -> None:
        """Of a class's map over the pixels, a mean over images and classes."""
        rng = np.random.default_rng(0)
        teacher, student = rng.normal(size=(2, 2, 3, 4, 5)) * 3
        divergences = []
        for image, label in np.ndindex(2, 5):
            p, q = (softmax(side[image, :, :, label].ravel() / temperature) for side in (teacher, student))
            divergences.append((p * np.log(p / q)).sum())
        found = channel(teacher.astype(np.float32), student.astype(np.float32), temperature)
        assert float(found) == pytest.approx(temperature**2 * np.mean(divergences), rel=1e-4)

    @pytest.mark.parametrize("name", DISTILLATIONS)
    def test_of_the_same_view_is_nothing(self, name: str) -> None:
        logits = np.random.default_rng(1).normal(size=(1, 2, 2, 3)).astype(np.float32)
        assert float(DISTILLATIONS[name](logits, logits + 7, 2.0)) == pytest.approx(0, abs=1e-6)

    def test_of_certain_and_opposite_views_is_finite(self) -> None:
        sure = np.array([[[[500.0, -500.0]]]], np.float32)
        assert float(pixel(sure, -sure, 1.0)) == pytest.approx(1000)
        places = np.array([[[[500.0], [-500.0]]]], np.float32)
        assert float(channel(places, -places, 1.0)) == pytest.approx(1000)

    def test_the_recipe_names_each(self) -> None:
        field = Recipe.model_fields["distill_distance"]
        assert set(get_args(field.annotation)) == set(DISTILLATIONS)


def with_head(size: int = 16) -> keras.Model:
    """Logits of three classes, and an auxiliary head at a quarter of the size."""
    image = keras.Input((size, size, 3), dtype="uint8", name="image")
    x = keras.layers.Conv2D(4, 3, padding="same", name="conv")(
        keras.layers.Rescaling(1 / 255, name="scale")(image)
    )
    logits = keras.layers.Conv2D(3, 1, dtype="float32", name="head")(x)
    small = keras.layers.Conv2D(3, 4, strides=4, dtype="float32", name="auxiliary")(x)
    return keras.Model(image, [logits, small], name="with_head")


def test_an_auxiliary_head_learns_from_reduced_labels(cached: CachedSplit) -> None:
    network, objective = with_head(), NamedLoss("cross_entropy", 3)
    trainee = Trainee(network, objective, MeanIoU(3), auxiliary_weight=0.25)
    images, masks = cached.images[:4], cached.masks[:4]
    outputs = network(images, training=True)
    cross_entropy = loss_function("cross_entropy")
    main, head = cross_entropy(masks, outputs[0]), cross_entropy(masks[:, 2::4, 2::4], outputs[1])
    assert float(trainee.compute_loss(images, masks, outputs)) == pytest.approx(float(main + 0.25 * head))
    assert float(trainee.compute_loss(images, masks, outputs, training=False)) == pytest.approx(float(main))


def test_the_car_has_no_use_for_auxiliary_heads(tmp_path: Path) -> None:
    heads = with_head()
    assert inference_model(heads).output_shape == (None, 16, 16, 3)
    heads.save(tmp_path / "heads.keras")
    model, _ = load_checkpoint(tmp_path / "heads.keras")
    image = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3)).astype(np.uint8)
    assert np.allclose(model(image), heads(image)[0], atol=1e-6)
    assert not any(layer.name == "auxiliary" for layer in model.layers)


@pytest.fixture(scope="module")
def taught(bands: str, small_network: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The best checkpoint of a short run at 16×16."""
    recipe = Recipe(data=bands, size=(16, 16), model_options={"channels": 4}, epochs=2, batch=4,
                    learning_rate=1e-2, precision="float32", workers=0)  # fmt: skip
    return train(recipe, tmp_path_factory.mktemp("teacher") / "run").folder.best


class TestTeacher:
    def test_adds_its_distance_and_learns_nothing(
        self, taught: Path, tiny_recipe: Any, cached: CachedSplit
    ) -> None:
        recipe = tiny_recipe(
            teacher=str(taught), distill_distance="pixel", distill_weight=0.5, distill_temperature=4
        )
        network = new_network(recipe, cached.labels)
        trainee = make_trainee(network, recipe, cached, open_teacher(recipe, cached.labels))
        plain = make_trainee(new_network(recipe, cached.labels), recipe, cached)
        assert len(trainee.trainable_variables) == len(plain.trainable_variables)
        teacher = load_trainable(taught)
        images, masks = cached.images[:4], cached.masks[:4]
        logits = network(images, training=True)
        alone = float(trainee.compute_loss(images, masks, logits, training=False))
        distance = float(pixel(teacher(images), logits, 4))
        assert float(trainee.compute_loss(images, masks, logits)) == pytest.approx(
            alone + 0.5 * distance, rel=1e-5
        )

    def test_sees_a_whole_image_at_its_own_size(
        self, taught: Path, tiny_recipe: Any, cached: CachedSplit
    ) -> None:
        recipe = tiny_recipe(teacher=str(taught), size=[32, 48], distill_temperature=1)
        images = np.repeat(np.repeat(cached.images[:2], 2, axis=1), 3, axis=2)
        seen = ops.image.resize(ops.cast(images, "float32"), (16, 16))
        own = load_trainable(taught)(ops.cast(ops.round(seen), "uint8"))
        teacher = open_teacher(recipe, cached.labels)
        assert teacher is not None
        assert float(teacher.loss(images, ops.image.resize(own, (32, 48)))) == pytest.approx(0, abs=1e-6)

    def test_is_rebuilt_for_windows(self, taught: Path, tiny_recipe: Any, cached: CachedSplit) -> None:
        """Half of the image is half of what the teacher sees, but no less than 64 pixels."""
        recipe = tiny_recipe(teacher=str(taught), size=[128, 64], crop=[64, 64], distill_temperature=1)
        images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
        expected = empty_network(recipe, cached.labels, (64, 64))
        expected.set_weights(load_trainable(taught).get_weights())
        teacher = open_teacher(recipe, cached.labels)
        assert teacher is not None
        assert float(teacher.loss(images, expected(images))) == pytest.approx(0, abs=1e-6)

    def test_of_other_classes_is_refused(self, taught: Path, tiny_recipe: Any, tmp_path: Path) -> None:
        recipe = tiny_recipe(teacher=str(taught), data="synthetic:train=2,val=2,size=64x64")
        with pytest.raises(DataError, match=r"teacher .*classes: ground, sky, box, found void"):
            train(recipe, tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_another_at_its_place_does_not_go_on_with_a_run(
        self, taught: Path, tiny_recipe: Any, tmp_path: Path
    ) -> None:
        teacher = tmp_path / "teacher.keras"
        shutil.copy(taught, teacher)
        folder = train(tiny_recipe(teacher=str(teacher), epochs=1), tmp_path / "run").folder
        shutil.copy(folder.best, teacher)
        with pytest.raises(DataError, match=r"teacher\.keras.*found another"):
            resume(folder.path)

    def test_that_is_missing_is_refused(self, tiny_recipe: Any, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"absent\.keras"):
            train(tiny_recipe(teacher=str(tmp_path / "absent.keras")), tmp_path / "run")

    def test_of_one_output_too_many_is_refused(
        self, tiny_recipe: Any, cached: CachedSplit, tmp_path: Path
    ) -> None:
        """A Keras file that edgeseg did not write says nothing of its classes but their number."""
        image = keras.Input((16, 16, 3), dtype="uint8")
        keras.Model(image, keras.layers.Conv2D(9, 1)(image)).save(tmp_path / "foreign.keras")
        with pytest.raises(UsageError, match="3 classes"):
            open_teacher(tiny_recipe(teacher=str(tmp_path / "foreign.keras")), cached.labels)

    def test_of_others_teaches_its_logits(
        self, tiny_recipe: Any, cached: CachedSplit, tmp_path: Path
    ) -> None:
        """Taken for logits, its probabilities would be near alike for every class."""
        image = keras.Input((16, 16, 3), dtype="uint8")
        logits = keras.layers.Conv2D(3, 1)(keras.layers.Rescaling(1 / 32)(image))
        keras.Model(image, keras.layers.Softmax()(logits)).save(tmp_path / "foreign.keras")
        teacher = open_teacher(tiny_recipe(teacher=str(tmp_path / "foreign.keras")), cached.labels)
        assert teacher is not None
        own = keras.Model(image, logits)(cached.images[:2])
        assert float(teacher.loss(cached.images[:2], own)) == pytest.approx(0, abs=1e-6)

    def test_of_others_that_wants_scaled_pixels_is_refused(
        self, tiny_recipe: Any, cached: CachedSplit, tmp_path: Path
    ) -> None:
        image = keras.Input((16, 16, 3))
        keras.Model(image, keras.layers.Conv2D(3, 1)(image)).save(tmp_path / "foreign.keras")
        with pytest.raises(UsageError, match=r"foreign\.keras.*float32 pixels.*import-weights"):
            open_teacher(tiny_recipe(teacher=str(tmp_path / "foreign.keras")), cached.labels)


@pytest.fixture(scope="module")
def windows(
    bands: str, small_network: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunFolder, Recipe]:
    """A run of one epoch on windows of 8×8 of a model of 16×24, with averaged weights."""
    recipe = Recipe(data=bands, size=(16, 24), crop=(8, 8), ema=0.5, model_options={"channels": 4},
                    epochs=1, batch=4, learning_rate=1e-2, precision="float32", workers=0)  # fmt: skip
    return train(recipe, tmp_path_factory.mktemp("windows") / "run").folder, recipe


def test_trained_on_windows_kept_at_the_cars_size(windows: tuple[RunFolder, Recipe]) -> None:
    folder, _ = windows
    for path, size in ((folder.best, (16, 24)), (folder.last, (8, 8))):
        info = read_info(path)
        assert info is not None
        assert (info.height, info.width) == size
        assert load_trainable(path).input_shape == (None, *size, 3)


def test_what_is_kept_are_the_moving_averages(windows: tuple[RunFolder, Recipe], cached: CachedSplit) -> None:
    """Of the trained weights they differ; of an optimiser without averages they would be the same."""
    folder, recipe = windows
    kept, trained = load_trainable(folder.best), load_trainable(folder.last)
    make_trainee(trained, recipe, cached)
    trained.load_weights(folder.last)
    averages = empty_network(recipe, cached.labels, recipe.size)
    averages.set_weights(trained.get_weights())
    assert not np.allclose(averages.get_weights()[0], kept.get_weights()[0], atol=1e-5)
    trained.optimizer.finalize_variable_values(averages.trainable_variables)
    for a, b in zip(averages.trainable_variables, kept.trainable_variables, strict=True):
        assert np.allclose(a, b, atol=1e-6)


def test_the_averages_of_averaged_weights_are_of_the_features_they_make(
    windows: tuple[RunFolder, Recipe],
) -> None:
    """Not of those that the unaveraged weights made, from the windows that were trained on."""
    folder, recipe = windows
    kept = load_trainable(folder.best)
    split = prepare(open_dataset(recipe.data), "train", *recipe.size)
    norm = next(layer for layer in kept.layers if isinstance(layer, keras.layers.BatchNormalization))
    features = ops.convert_to_numpy(keras.Model(kept.inputs, norm.input)(split.images))
    assert np.allclose(norm.moving_mean, features.mean(axis=(0, 1, 2)), atol=1e-4)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_moving_average_is_the_formulas(tiny_recipe: Any, cached: CachedSplit, accumulate: int) -> None:
    """Where two steps make an update, each of the two averages by the root: an update counts the same."""
    recipe = tiny_recipe(ema=0.75, accumulate=accumulate)
    kept = 0.75 ** (1 / accumulate)
    network = new_network(recipe, cached.labels)
    trainee = make_trainee(network, recipe, cached)
    average = None
    for step in range(3 * accumulate):
        trainee.train_on_batch(cached.images[:4], cached.masks[:4])
        weight = ops.convert_to_numpy(network.trainable_variables[0]).copy()
        average = weight if step < accumulate else kept * average + (1 - kept) * weight
    twin = empty_network(recipe, cached.labels, recipe.size)
    trainee.optimizer.finalize_variable_values(twin.trainable_variables)
    assert np.allclose(ops.convert_to_numpy(twin.trainable_variables[0]), average, atol=1e-6)


def test_a_frozen_encoder_is_not_trained(bands: str, cached: CachedSplit, tmp_path: Path) -> None:
    recipe = Recipe(data=bands, size=(64, 64), model="unet", encoder_rate=0,
                    model_options={"encoder_weights": "none", "decoder": (8, 8)})  # fmt: skip
    network = new_network(recipe, cached.labels)
    assert network.get_layer("encoder").trainable_variables == []
    assert network.trainable_variables
    make_trainee(network, recipe, cached)
    save_checkpoint(network, tmp_path / "frozen.keras", _info(recipe, cached))
    assert load_trainable(tmp_path / "frozen.keras").get_layer("encoder").trainable_variables == []


def _info(recipe: Recipe, cached: CachedSplit) -> Any:
    from edgeseg.training.checkpoint_info import CheckpointInfo

    return CheckpointInfo(
        model=recipe.model, recipe=recipe.model_dump(mode="json"), recipe_hash=recipe.hash(),
        labels=cached.labels.to_dict(), height=64, width=64, dataset=recipe.data, dataset_fingerprint="",
        epoch=0, val_miou=None, edgeseg_version="0",
    )  # fmt: skip


def test_a_window_larger_than_the_image_is_refused(tiny_recipe: Any) -> None:
    with pytest.raises(UsageError, match=r"crop must lie within size 16x16"):
        tiny_recipe(crop=[16, 32])


@pytest.mark.parametrize(
    ("model", "size", "expected"),
    [
        ("unet_mini_source", (16, 16), "mixed_bfloat16"),
        ("edge", (64, 64), "float32"),
        ("segformer_b0", (64, 64), "float32"),
    ],
)
def test_auto_trains_depthwise_networks_in_float32_on_a_cpu(
    model: str, size: tuple[int, int], expected: str, cached: CachedSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    if model.startswith("segformer"):
        pytest.importorskip("keras_hub", reason="pip install 'edgeseg[segformer]'")
    monkeypatch.setattr(networks, "resolve_precision", lambda wanted: "mixed_bfloat16")
    assert choose_precision(Recipe(data="x", model=model, size=size), cached.labels) == expected
    forced = Recipe(data="x", model=model, size=size, precision="mixed_bfloat16")
    assert choose_precision(forced, cached.labels) == "mixed_bfloat16"


class Steps(Observer):
    """Counts them."""

    def __init__(self) -> None:
        self.count = 0

    def stepped(self, epoch: int, step: int, logs: Mapping[str, float]) -> None:
        self.count += 1


def test_a_fraction_of_the_images_makes_fewer_steps(tiny_recipe: Any, tmp_path: Path) -> None:
    steps = Steps()
    train(tiny_recipe(fraction=0.5, epochs=1), tmp_path / "run", [steps])
    assert steps.count == 2, "of the 16 images 8, in batches of 4"


def test_what_the_weights_froze_stays_frozen_in_the_twin(cached: CachedSplit, tmp_path: Path) -> None:
    """The twin is built without the file; its trainable variables must be those of the network."""
    start = Recipe(data="x", size=(64, 64), model="edge", model_options={"encoder_batchnorm": "trained"})
    path = tmp_path / "encoder.weights.h5"
    keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(64, 64, 3)).save_weights(
        path
    )
    recipe = start.model_copy(update={"model_options": {"encoder_weights": str(path)}})
    for one, frozen in ((recipe, True), (start.model_copy(update={"model_options": {}}), False)):
        made, twin = new_network(one, cached.labels), empty_network(one, cached.labels, (64, 96))
        assert [v.shape for v in made.trainable_variables] == [v.shape for v in twin.trainable_variables]
        norms = [
            x for x in made.get_layer("encoder").layers if isinstance(x, keras.layers.BatchNormalization)
        ]
        assert all(norm.trainable != frozen for norm in norms)
