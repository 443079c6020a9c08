"""Models behind ``edgeseg serve``, asked over HTTP with the standard library alone."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import cv2
import numpy as np

from edgeseg.camera import without_password
from edgeseg.camera.picture_headers import check_whole, picture_size
from edgeseg.dashboard.model import Prediction
from edgeseg.errors import EdgesegError, InferenceError, LabelError, PictureError, UsageError
from edgeseg.labels import LabelSet, Mask
from edgeseg.loopback import TOKEN_VARIABLE
from edgeseg.resize import Image

_TIMEOUT_S = 60.0
_LISTING_TIMEOUT_S = 5.0
"""Shorter: the page asks for the list again and again, and a host that is not there may not answer at all."""
_MODELS = "/v1/models"
_LONGEST_ANSWER = 64 << 20


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The page asks whom it was told to ask, and nobody else."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


# No proxy either: what the environment names for the web is no place to send a camera's images through.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


def is_url(text: str) -> bool:
    """Whether a model's name on the command line is the address of a service."""
    return "://" in text


def split_url(url: str) -> tuple[str, str | None]:
    """The service's own address, and the name of the model where the URL ends in one.

    Raises:
        UsageError: It is no http or https address of a service.
    """
    try:
        parts = urlsplit(url)
        usual = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
    except ValueError:
        usual = False
    if not usual:
        raise UsageError(
            without_password(url),
            expected="the address of a service, such as http://127.0.0.1:8000",
            found="another kind of address",
            next_step="Start one with 'edgeseg serve', and give the address that it prints.",
        )
    path, _, name = parts.path.partition(_MODELS)
    name = unquote(name.strip("/").removesuffix("/predict"))
    return f"{parts.scheme}://{parts.netloc}{path.rstrip('/')}", name or None


def open_services(url: str, token: str | None = None) -> list[ServiceModel]:
    """The models that a service offers, or the one that the URL names.

    Raises:
        UsageError: The URL is none of a service, or the service has no such model.
        InferenceError: The service does not answer, or answers something else.
    """
    base, wanted = split_url(url)
    answer = _json(_ask(base + _MODELS, None, token, _LISTING_TIMEOUT_S)[0], base)
    try:
        listed = [ServiceModel(base, values, token) for values in answer["models"]]
    except (KeyError, TypeError, ValueError, LabelError) as error:
        raise _strange(base + _MODELS, f"{type(error).__name__}: {error}") from error
    found = [model for model in listed if wanted in (None, model.name)]
    if not found:
        raise UsageError(
            without_password(url),
            expected=f"one of the service's models: {', '.join(m.name for m in listed) or 'it has none'}",
            found=wanted or "none",
            next_step="Correct the name, or leave it out to take all of them.",
        )
    return found


class ServiceModel:
    """One model of a service: a model of the page.

    Args:
        base: The service's address.
        values: What ``GET /v1/models`` says of the model.
        token: What the service wants in ``Authorization``, where it wants anything.
    """

    def __init__(self, base: str, values: Mapping[str, Any], token: str | None = None) -> None:
        self.name = str(values["name"])
        self.kind = f"{values['runtime']} {values['precision']} at {urlsplit(base).netloc.rpartition('@')[2]}"
        self.labels = LabelSet.from_dict({"name": self.name, "classes": values["classes"]})
        self.digest = f"{base} {self.name} {values['digest']}"
        self._token = token
        self._url = f"{base}{_MODELS}/{quote(self.name, safe='')}/predict?output=mask"

    def predict(self, image: Image) -> Prediction:
        """
        Raises:
            InferenceError: The service refuses, does not answer, or answers something else.
        """
        body = _png(image)
        started = time.perf_counter()
        answer, headers = _ask(self._url, body, self._token, _TIMEOUT_S)
        mask = _mask(answer, image, self._url)
        total = 1000 * (time.perf_counter() - started)
        return Prediction(mask, None, total, _stages(headers))


def _png(image: Image) -> bytes:
    # Lossless, and at the lowest effort: the service is near, and its latency is what is looked at.
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return encoded.tobytes()


def _mask(answer: bytes, image: Image, url: str) -> Mask:
    """A picture of class ids; its header is read before its pixels are, for it may claim any size."""
    height, width = image.shape[:2]
    wanted = f"a mask of the image's size, {height}x{width}"
    try:
        found_width, found_height = picture_size(answer, "mask")
        check_whole(answer, "mask")
    except PictureError as error:
        raise _strange(url, error.found, wanted) from error
    if (found_height, found_width) != (height, width):
        raise _strange(url, f"a picture of {found_height}x{found_width}", wanted)
    mask = cv2.imdecode(np.frombuffer(answer, np.uint8), cv2.IMREAD_UNCHANGED)
    if mask is None or mask.dtype != np.uint8 or mask.ndim != 2:
        raise _strange(url, "a damaged picture, or one of several channels", "one channel of class ids")
    return np.asarray(mask, np.uint8)


def _stages(headers: Mapping[str, str]) -> dict[str, float]:
    """What the service says of its own time, by the standard's ``Server-Timing: infer;dur=4.2, …``."""
    stages = {}
    for entry in headers.get("Server-Timing", "").split(","):
        name, _, duration = entry.strip().partition(";dur=")
        try:
            stages[name] = float(duration)
        except ValueError:
            continue
    return stages


def _ask(
    url: str, body: bytes | None, token: str | None, timeout_s: float
) -> tuple[bytes, Mapping[str, str]]:
    """The answer's body and headers; a POST where there is a body."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["Content-Type"] = "image/png"
    request = urllib.request.Request(url, data=body, headers=headers)
    try:
        with _OPENER.open(request, timeout=timeout_s) as answer:
            data = answer.read(_LONGEST_ANSWER + 1)
            found = answer.headers
    except urllib.error.HTTPError as error:
        raise _refused(url, error) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise InferenceError(
            without_password(url),
            expected="an answer of the service",
            found=getattr(reason, "strerror", None) or str(reason) or type(error).__name__,
            next_step="Check that 'edgeseg serve' runs there, and its address and port.",
        ) from error
    if len(data) > _LONGEST_ANSWER:
        raise _strange(url, f"more than {_LONGEST_ANSWER >> 20} MiB")
    return data, found


def _refused(url: str, error: urllib.error.HTTPError) -> EdgesegError:
    """The service's own message, where it sent one."""
    with error:
        text = error.read(2000).decode("utf-8", "replace")
    # Not JSON: not its own words, then, but those of something before it.
    with suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(text)["error"])
    advice = (
        f"Give its token in {TOKEN_VARIABLE}." if error.code == 401 else "Do what it says, or ask another."
    )
    return InferenceError(
        without_password(url),
        expected="an answer of the service",
        found=f"{error.code} {error.reason}: {' '.join(text.split())[:300].rstrip('.')}",
        next_step=advice,
    )


def _json(data: bytes, base: str) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise _strange(base + _MODELS, "no JSON") from error


def _strange(url: str, found: str, expected: str = "the answer of 'edgeseg serve'") -> InferenceError:
    return InferenceError(
        without_password(url),
        expected=expected,
        found=found,
        next_step="Check that the address is that of 'edgeseg serve', of this version.",
    )
