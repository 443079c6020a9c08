"""What ``--space`` takes, what it refuses, and that its values become numbers of the recipe again."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edgeseg.errors import UsageError
from edgeseg.training.sweep.space import Choices, Parameter, Range, parse_space


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ("lr=1e-4..1e-2:log", Range("learning_rate", 1e-4, 1e-2, log=True)),
        ("learning_rate = .001..0.1", Range("learning_rate", 0.001, 0.1)),
        ("batch=4..16", Range("batch", 4, 16)),
        ("batch=4..16:step=4", Range("batch", 4, 16, step=4)),
        ("batch=1..64:log", Range("batch", 1, 64, log=True)),
        ("augment.blur=0..0.5:step=0.1", Range("augment.blur", 0.0, 0.5, step=0.1)),
        ("offset=-2..+3", Range("offset", -2, 3)),
        ("loss=total,focal_tversky", Choices("loss", ("total", "focal_tversky"))),
        ("size=[64,96],[96,128]", Choices("size", ("[64,96]", "[96,128]"))),
        ("batch=4,8", Choices("batch", ("4", "8"))),
        ("teacher=../a.keras,../b.keras", Choices("teacher", ("../a.keras", "../b.keras"))),
    ],
)
def test_forms(text: str, parameter: Parameter) -> None:
    (found,) = parse_space([text])
    assert found == parameter
    assert parse_space([str(found)]) == (parameter,), "what a folder keeps of it is read back as it was"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "found none"),
        (["lr"], "found 'lr'"),
        (["=1..2"], "FIELD=LOW..HIGH"),
        (["loss=total"], "neither a range nor two or more"),
        (["loss=total,total"], "neither a range nor two or more"),
        (["loss=total,"], "neither a range nor two or more"),
        (["lr=1e-2..1e-4"], "a range from 0.01 to 0.0001, which holds nothing"),
        (["lr=0..1:log"], "a logarithmic range from 0: give one above 0"),
        (["batch=4..16:step=5"], "steps of 5, which do not lead from 4 to 16"),
        (["batch=4..16:step=0"], "steps of 0"),
        (["batch=4..16:log:step=4"], "both log and step"),
        (["lr=1..2:exp"], "the option 'exp'"),
        (["lr=1..2:step=x"], "the option 'step=x'"),
        (["lr=a..b"], "neither a range"),
        (["lr=1..2", "learning_rate=1..3"], "each field once, found learning_rate"),
    ],
)
def test_refusals(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError, match="--space") as refused:
        parse_space(texts)
    assert message in str(refused.value)


@given(
    low=st.integers(-1000, 1000), steps=st.integers(1, 50), step=st.integers(1, 20), seed=st.integers(0, 99)
)
def test_whole_ranges_hold_what_is_drawn_of_them(low: int, steps: int, step: int, seed: int) -> None:
    optuna = pytest.importorskip("optuna")
    (parameter,) = parse_space([f"batch={low}..{low + steps * step}:step={step}"])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    value = parameter.suggest(study.ask())
    assert low <= value <= low + steps * step
    assert (value - low) % step == 0
    assert yaml.safe_load(parameter.text(value)) == value


@given(low=st.floats(1e-9, 1e3), factor=st.floats(1.5, 1e6), log=st.booleans(), seed=st.integers(0, 99))
def test_fractions_are_numbers_again(low: float, factor: float, log: bool, seed: int) -> None:
    """Python's ``1e-05`` is a text to YAML, and in a model's options it would stay one."""
    optuna = pytest.importorskip("optuna")
    (parameter,) = parse_space([f"lr={low!r}..{low * factor!r}{':log' if log else ''}"])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    value = parameter.suggest(study.ask())
    assert low <= value <= low * factor
    read = yaml.safe_load(parameter.text(value))
    assert isinstance(read, float)
    assert read == value
    assert parse_space([str(parameter)]) == (parameter,)
