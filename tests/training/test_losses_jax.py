"""Every loss with its gradient gives the same numbers when Keras runs on JAX, under ``jit``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from edgeseg.training.losses import LOSSES, loss_function

pytest.importorskip("jax")

SCRIPT = """
import sys
import jax
import numpy as np
from edgeseg.training.losses import LOSSES, loss_function

truth, logits = (np.load(path) for path in sys.argv[1:3])
results = {}
for name in LOSSES:
    value, slope = jax.jit(jax.value_and_grad(lambda x, f=loss_function(name): f(truth, x)))(logits)
    results[name], results[name + "_slope"] = value, slope
np.savez(sys.argv[3], **results)
"""


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    truth = rng.choice([0, 1, 2, 255], (2, 8, 8)).astype(np.uint8)
    return truth, rng.normal(size=(2, 8, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def of_jax(
    case: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, np.ndarray]:
    folder: Path = tmp_path_factory.mktemp("jax")
    np.save(folder / "truth.npy", case[0])
    np.save(folder / "logits.npy", case[1])
    files = [str(folder / name) for name in ("truth.npy", "logits.npy", "results.npz")]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", SCRIPT, *files]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr
    return dict(np.load(files[2]))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_value_and_gradient_are_those_of_tensorflow(
    name: str, case: tuple[np.ndarray, np.ndarray], of_jax: dict[str, np.ndarray]
) -> None:
    truth, logits = case[0], tf.Variable(case[1])
    with tf.GradientTape() as tape:
        loss = loss_function(name)(truth, logits)
    np.testing.assert_allclose(of_jax[name], loss.numpy(), rtol=1e-5)
    np.testing.assert_allclose(
        of_jax[f"{name}_slope"], tape.gradient(loss, logits).numpy(), rtol=1e-4, atol=1e-7
    )
