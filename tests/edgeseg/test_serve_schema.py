"""The service does what its OpenAPI description says, and nothing else, whatever is sent to it.

Schemathesis makes the requests. A longer run of it is in ``test_serve_soak.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from unittest import mock

import cv2
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

import toys
from edgeseg.serve.app import make_app
from edgeseg.serve.limits import Limits
from edgeseg.serve.models import Loading, load_models
from edgeseg.serve.service import Service


def _png(height: int, width: int) -> bytes:
    return cv2.imencode(".png", np.zeros((height, width, 3), np.uint8))[1].tobytes()


# Any bytes are nearly never a picture: without these no request would be answered with a mask.
schemathesis.openapi.media_type("image/png", st.builds(_png, st.integers(1, 40), st.integers(1, 40)))


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    bundle = toys.write_bundle(tmp_path_factory.mktemp("bundle") / "toy.edgeseg")
    with ExitStack() as stack, mock.patch("edgeseg.segmenter.try_model"):
        models = load_models([str(bundle)], 1, Loading(threads=1), stack)
        service = Service(models, Limits(slots=1), local_only=False)
        stack.callback(service.close)
        yield schemathesis.openapi.from_asgi("/openapi.json", make_app(service))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/live"),
        ("GET", "/ready"),
        ("GET", "/metrics"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/{name}"),
        ("POST", "/v1/models/{name}/predict"),
    ],
)
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_it_does_what_it_says(
    described: schemathesis.BaseSchema, method: str, path: str, mode: schemathesis.GenerationMode
) -> None:
    operation = described[path][method]

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate()

    try:
        check()
    except Unsatisfiable:
        # Where nothing is given nothing can be given wrongly.
        assert mode.is_negative


def test_every_operation_is_described(described: schemathesis.BaseSchema) -> None:
    found = [result.ok().label for result in described.get_all_operations()]
    assert len(found) == 6


def test_pictures_are_answered_with_masks(described: schemathesis.BaseSchema) -> None:
    statuses = set()

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=described["/v1/models/{name}/predict"]["POST"].as_strategy())
    def check(case: schemathesis.Case) -> None:
        case.path_parameters["name"] = "toy"
        answer = case.call()
        case.validate_response(answer)
        statuses.add(answer.status_code)

    check()
    assert 200 in statuses
