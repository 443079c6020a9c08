"""The Keras predictor, plain and with flips, beside NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.special import softmax

from edgeseg.training.models import build_model
from edgeseg.training.predictor import confident_predictor, keras_predictor

IMAGE = np.random.default_rng(0).integers(0, 256, (16, 24, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(2)
    return build_model("unet_mini", 4, 16, 24, channels=3)


def _logits(model: keras.Model, image: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(image[None], training=False))[0]


def test_a_class_map_of_the_images_size(model: keras.Model) -> None:
    mask = keras_predictor(model)(IMAGE)
    assert (mask.shape, mask.dtype) == ((16, 24), np.uint8)
    assert np.array_equal(mask, _logits(model, IMAGE).argmax(axis=-1))


def test_flips_average_probabilities_and_not_logits(model: keras.Model) -> None:
    straight, mirrored = _logits(model, IMAGE), _logits(model, IMAGE[:, ::-1])[:, ::-1]
    mean = (softmax(straight, axis=-1) + softmax(mirrored, axis=-1)) / 2
    mask = keras_predictor(model, flip=True)(IMAGE)
    assert np.array_equal(mask, mean.argmax(axis=-1))
    assert not np.array_equal(mask, straight.argmax(axis=-1)), "this image shows nothing of flips"


def test_flipped_prediction_of_the_mirror_image_is_the_mirror_image(model: keras.Model) -> None:
    predict = keras_predictor(model, flip=True)
    assert np.array_equal(predict(IMAGE[:, ::-1]), predict(IMAGE)[:, ::-1])


def test_confidence_is_the_probability_of_the_class(model: keras.Model) -> None:
    found = confident_predictor(model)(IMAGE)
    shares = softmax(_logits(model, IMAGE), axis=-1)
    assert found.confidence is not None
    assert np.array_equal(found.mask, shares.argmax(axis=-1))
    assert found.confidence.dtype == np.uint8
    assert np.abs(found.confidence - 255 * shares.max(axis=-1)).max() <= 0.51
