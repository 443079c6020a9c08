from __future__ import annotations

import inspect
import pickle

import pytest

from edgeseg import errors
from edgeseg.errors import EdgesegError, MissingExtraError, UnknownNameError

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, EdgesegError)]
CODES = {"UsageError": 2, "DataError": 3, "ConversionError": 4, "AccuracyGateError": 5}
CODES |= {"LatencyGateError": 6, "SourceError": 7, "BundleError": 8, "InferenceError": 9}


def test_exit_codes_are_those_of_the_design() -> None:
    for kind in KINDS:
        roots = [CODES[base.__name__] for base in kind.__mro__ if base.__name__ in CODES]
        assert kind.exit_code == (roots[0] if roots else 1)


def test_every_error_stands_in_the_tree() -> None:
    for kind in KINDS:
        assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", KINDS)
def test_survives_a_process_border(kind: type[EdgesegError]) -> None:
    error = kind("a.png", expected="an image", found="text", next_step="Replace it.")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == "a.png: expected an image, found text. Replace it."
    assert copy.next_step == "Replace it."


def test_unknown_name_lists_the_known() -> None:
    message = str(UnknownNameError.of("model", "unet_maxi", ["unet_mini", "edge"]))
    assert "'unet_maxi'" in message
    assert "edge, unet_mini" in message


def test_missing_extra_tells_the_command() -> None:
    assert "pip install 'edgeseg[litert]'" in str(MissingExtraError.of("LiteRT", "ai-edge-litert", "litert"))
