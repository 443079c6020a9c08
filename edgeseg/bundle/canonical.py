"""JSON with one serialisation for given values, so that no changed byte can go unseen."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable
from typing import Any

MAX_VALUES = 20_000
"""Values, keys not counted, that a document may hold; a manifest of 255 classes has some 3,000."""

_MAX_DIGITS = 19


def to_canonical_json(values: dict[str, Any]) -> bytes:
    """The one serialisation of these values.

    Raises:
        ValueError: They hold a number that is not finite, or text that is not Unicode.
    """
    return (json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def from_canonical_json(data: bytes) -> dict[str, Any]:
    """The values of a document that :func:`to_canonical_json` could have written.

    Raises:
        ValueError: It is no JSON object, names a key twice, holds numbers that are not finite or are longer
            than 64 bits, nests too deep, holds more than ``MAX_VALUES``, or is written in another way.
    """
    try:
        values = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_each_once,
            parse_int=_short_int,
            parse_float=_finite,
            parse_constant=_finite,
        )
        if not isinstance(values, dict):
            raise ValueError("not a JSON object")
        _count(values)
        if to_canonical_json(values) != data:
            raise ValueError("not written as edgeseg writes it")
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    return values


def _each_once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"the key {key[:40]!r} twice")
        values[key] = value
    return values


def _short_int(text: str) -> int:
    # Before it is converted, which takes the square of its length.
    if len(text.lstrip("-")) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]}, which is not finite")
    return value


def _count(values: dict[str, Any]) -> None:
    """Whoever checks the values one by one, and says what is wrong with each, has an end."""
    count = 0
    waiting: list[Collection[Any]] = [values.values()]
    while waiting:
        inside = waiting.pop()
        count += len(inside)
        if count > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES} values")
        waiting += [value.values() for value in inside if isinstance(value, dict)]
        waiting += [value for value in inside if isinstance(value, list)]
