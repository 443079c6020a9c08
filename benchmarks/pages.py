"""HTML pages from the templates beside this module; each needs no network and no other file."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import cv2

from edgeseg.atomic import write_text
from edgeseg.errors import DataError, MissingExtraError
from edgeseg.resize import Image
from edgeseg.tables import points

_TEMPLATES = Path(__file__).parent / "templates"
_MIME = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".svg": "image/svg+xml"}
_JPEG_QUALITY = 88


def write_page(path: Path, template: str, **values: Any) -> None:
    """Fill a template; the file appears whole or not at all.

    Raises:
        MissingExtraError: Jinja2 is not installed.
        DataError: A picture is not there, or is of no known kind.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError.of("writing a report", "jinja2", "benchmark") from error
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"points": points, "embed": embed, "decimals": _decimals}
    write_text(path, environment.get_template(template).render(**values))


def embed(picture: Path | Image) -> str:
    """A ``data:`` address of a picture file, or of pixels ``uint8 [H, W, 3]`` RGB as a JPEG.

    Raises:
        DataError: The file is not there, or of no known kind.
    """
    if isinstance(picture, Path):
        mime, data = _mime(picture), _bytes(picture)
    else:
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
        mime, data = "image/jpeg", encoded.tobytes()
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"


def _mime(path: Path) -> str:
    if path.suffix.lower() not in _MIME:
        raise DataError(
            path,
            expected=f"a picture, {', '.join(sorted(_MIME))}",
            found=path.suffix or "no suffix",
            next_step="Give the report a picture.",
        )
    return _MIME[path.suffix.lower()]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            path, expected="a picture for the report", found=str(error.strerror), next_step="Make it first."
        ) from error


def _decimals(value: float | None, places: int = 2) -> str:
    return "n/a" if value is None else f"{value:.{places}f}"
