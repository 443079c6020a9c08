"""What a sweep varies: fields of the recipe, each with the values that it may take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import yaml

from edgeseg.errors import UsageError

if TYPE_CHECKING:
    from optuna import Trial

_ALIASES = {"lr": "learning_rate"}
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER})(?P<options>(?::[^:]*)*)")
_WHOLE = re.compile(r"[+-]?\d+")
_FORMS = "FIELD=LOW..HIGH, FIELD=LOW..HIGH:log, FIELD=LOW..HIGH:step=STEP or FIELD=ONE,ANOTHER"


@dataclass(frozen=True)
class Choices:
    """A field that takes one of some values, each as ``--set`` takes it."""

    field: str
    values: tuple[str, ...]

    def suggest(self, trial: Trial) -> str:
        """The value of a trial."""
        return str(trial.suggest_categorical(self.field, list(self.values)))

    def text(self, value: object) -> str:
        """A value as ``--set`` takes it."""
        return str(value)

    def extremes(self) -> tuple[str, ...]:
        """Values that must all fit the recipe if every value is to."""
        return self.values

    def __str__(self) -> str:
        return f"{self.field}={','.join(self.values)}"


@dataclass(frozen=True)
class Range:
    """A field that takes any number from ``low`` to ``high``, both included; whole ones where those are.

    ``log``: as many trials between 1 and 10 as between 10 and 100. ``step``: from ``low`` in such steps.
    """

    field: str
    low: float | int
    high: float | int
    log: bool = False
    step: float | int | None = None

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are taken."""
        return isinstance(self.low, int)

    def suggest(self, trial: Trial) -> float | int:
        """The value of a trial."""
        if self.whole:
            step = int(self.step or 1)
            return trial.suggest_int(self.field, int(self.low), int(self.high), log=self.log, step=step)
        return trial.suggest_float(self.field, self.low, self.high, log=self.log, step=self.step)

    def text(self, value: object) -> str:
        """A value as ``--set`` takes it."""
        return _text(value)

    def extremes(self) -> tuple[str, ...]:
        """Values that must all fit the recipe if every value is to."""
        return _text(self.low), _text(self.high)

    def __str__(self) -> str:
        options = (":log" if self.log else "") + (f":step={_text(self.step)}" if self.step else "")
        return f"{self.field}={_text(self.low)}..{_text(self.high)}{options}"


Parameter = Choices | Range


def parse_space(texts: Sequence[str]) -> tuple[Parameter, ...]:
    """The arguments of ``--space``, for instance ``lr=1e-4..1e-2:log`` or ``loss=total,focal_tversky``.

    ``lr`` stands for ``learning_rate``. Commas within brackets do not part: ``size=[64,96],[96,128]``.

    Raises:
        UsageError: One is of no such form, a range is empty, or a field is there twice.
    """
    parameters = tuple(_parameter(text) for text in texts)
    if not parameters:
        raise UsageError("--space", expected=_FORMS, found="none", next_step="Name what is to be varied.")
    fields = [parameter.field for parameter in parameters]
    twice = sorted({field for field in fields if fields.count(field) > 1})
    if twice:
        raise UsageError(
            "--space", expected="each field once", found=", ".join(twice), next_step="Leave one out."
        )
    return parameters


def _parameter(text: str) -> Parameter:
    name, equals, values = (part.strip() for part in text.partition("="))
    if not (name and equals and values):
        raise _refused(text, repr(text))
    field = _ALIASES.get(name, name)
    match = _RANGE.fullmatch(values)
    return _range(text, field, match) if match else _choices(text, field, values)


def _range(text: str, field: str, match: re.Match[str]) -> Range:
    texts = {"low": match["low"], "high": match["high"]}
    log = False
    for option in match["options"].split(":")[1:]:
        name, _, value = option.partition("=")
        if option == "log":
            log = True
        elif name == "step" and re.fullmatch(_NUMBER, value):
            texts["step"] = value
        else:
            raise _refused(text, f"the option {option!r}")
    _check_range(text, log, {key: Decimal(value) for key, value in texts.items()})
    number = int if all(_WHOLE.fullmatch(value) for value in texts.values()) else float
    return Range(field, log=log, **{key: number(value) for key, value in texts.items()})


def _check_range(text: str, log: bool, numbers: dict[str, Decimal]) -> None:
    low, high, step = numbers["low"], numbers["high"], numbers.get("step")
    if low >= high:
        raise _refused(text, f"a range from {low} to {high}, which holds nothing to choose from")
    if log and low <= 0:
        raise _refused(text, f"a logarithmic range from {low}: give one above 0")
    if step is None:
        return
    if log:
        raise _refused(text, "both log and step: give one of them")
    if step <= 0 or (high - low) % step:
        raise _refused(text, f"steps of {step}, which do not lead from {low} to {high}")


def _choices(text: str, field: str, values: str) -> Choices:
    parts = [part.strip() for part in _split(values)]
    if len(parts) < 2 or not all(parts) or len({*parts}) < len(parts):
        raise _refused(text, f"{values!r}, which is neither a range nor two or more different values")
    return Choices(field, tuple(parts))


def _split(values: str) -> list[str]:
    """At the commas outside of brackets and braces."""
    parts, depth = [""], 0
    for character in values:
        depth += (character in "[{(") - (character in "]})")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _text(number: Any) -> str:
    """As YAML reads it back as a number: Python's ``1e-05`` would be a string there."""
    return str(yaml.safe_dump(number)).partition("\n")[0]


def _refused(text: str, found: str) -> UsageError:
    return UsageError(f"--space {text}", expected=_FORMS, found=found, next_step="Correct it.")
