"""What a client gets: a mask, an overlay or numbers, in the form that it asked for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from pydantic import BaseModel, Field

from edgeseg.resize import Image
from edgeseg.segmenter import Segmentation, Segmenter
from edgeseg.serve.refusals import Refusal

Output = Literal["mask", "overlay", "json"]
_JPEG_QUALITY = 92
_JSON = "application/json"


@dataclass(frozen=True)
class Form:
    """A kind of answer and its media type."""

    output: Output
    media_type: str


# In the order in which they are taken where a client has no wish.
FORMS = (
    Form("mask", "image/png"),
    Form("json", _JSON),
    Form("overlay", "image/jpeg"),
    Form("overlay", "image/png"),
)


class ClassArea(BaseModel):
    """What one class covers; every class of the model is named, also one that is not in the picture."""

    id: int
    name: str
    color: tuple[int, int, int] = Field(description="RGB, 0 to 255")
    pixels: int
    share: float = Field(description="Of the picture, 0 to 1")


class Times(BaseModel):
    """Milliseconds: waiting for a slot, decoding, and the stages of inference."""

    wait: float
    decode: float
    resize: float
    infer: float
    post: float


class Prediction(BaseModel):
    """One picture in numbers."""

    model: str
    digest: str = Field(description="SHA-256 of the bundle, hexadecimal")
    runtime: str
    precision: str
    width: int
    height: int
    classes: list[ClassArea]
    timings_ms: Times


@dataclass(frozen=True)
class Answer:
    """What goes back to the client."""

    body: bytes
    media_type: str
    headers: dict[str, str]


def choose_form(output: Output | None, accept: str) -> Form:
    """The form that a client asked for by ``?output=`` and by its header ``Accept``.

    Raises:
        Refusal: It accepts nothing that there is.
    """
    wanted = [form for form in FORMS if output in (None, form.output)]
    best = max(wanted, key=lambda form: _quality(form.media_type, accept))
    if _quality(best.media_type, accept) > 0:
        return best
    raise Refusal(
        406,
        f"Accept: expected one of {', '.join(sorted({form.media_type for form in wanted}))}, found "
        f"{accept[:100]!r}. Name one of them, or */*.",
    )


def make_answer(
    form: Form, name: str, segmenter: Segmenter, segmentation: Segmentation, wait_ms: float, decode_ms: float
) -> Answer:
    """Encode a result."""
    stages = segmentation.timings
    times = Times(
        wait=wait_ms, decode=decode_ms, resize=stages.resize_ms, infer=stages.infer_ms, post=stages.post_ms
    )
    started = time.perf_counter()
    if form.output == "json":
        prediction = _prediction(name, segmenter, segmentation, times)
        body = prediction.model_dump_json().encode()
    elif form.output == "mask":
        body = _encode(form, segmentation.mask)
    else:
        body = _encode(form, np.asarray(cv2.cvtColor(segmentation.overlay(), cv2.COLOR_RGB2BGR), np.uint8))
    spent = {**times.model_dump(), "encode": 1000 * (time.perf_counter() - started)}
    headers = {
        "X-Bundle-Digest": segmenter.bundle.digest,
        "Server-Timing": ", ".join(f"{stage};dur={value:.3f}" for stage, value in spent.items()),
    }
    return Answer(body, form.media_type, headers)


def _prediction(name: str, segmenter: Segmenter, segmentation: Segmentation, times: Times) -> Prediction:
    mask = segmentation.mask
    counts = np.bincount(mask.ravel(), minlength=256)
    areas = [
        ClassArea(
            id=c.id,
            name=c.name,
            color=c.color,
            pixels=int(counts[c.id]),
            share=float(counts[c.id] / mask.size),
        )
        for c in segmentation.labels.classes
    ]
    return Prediction(
        model=name,
        digest=segmenter.bundle.digest,
        runtime=segmenter.runtime_name,
        precision=segmenter.model.precision,
        width=mask.shape[1],
        height=mask.shape[0],
        classes=areas,
        timings_ms=Times(**{stage: round(value, 3) for stage, value in times.model_dump().items()}),
    )


def _encode(form: Form, image: Image) -> bytes:
    if form.media_type == "image/jpeg":
        _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    else:
        _, encoded = cv2.imencode(".png", image)
    return encoded.tobytes()


def _quality(media_type: str, accept: str) -> float:
    """How welcome a type is, 0 to 1: the most exact of the ranges that name it says so."""
    if not accept.strip():
        return 1.0
    found = {}
    for text in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in text.split(";"))
        if kind in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
            found[kind] = _weight(parameters)
    return found[min(found, key=lambda kind: kind.count("*"))] if found else 0.0


def _weight(parameters: list[str]) -> float:
    text = next((p[2:] for p in parameters if p.startswith("q=")), "1")
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
