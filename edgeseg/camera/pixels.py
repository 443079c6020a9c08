"""From a camera's buffer to RGB."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.camera.base import to_rgb
from edgeseg.resize import Image

Bytes = npt.NDArray[np.uint8]
Decoder = Callable[[Bytes, int, int, int], Image]

_START, _END = b"\xff\xd8", b"\xff\xd9"
# The shortest code for a block of 8 x 8 takes 2 bits: fewer bytes than half of that hold no whole picture.
_PIXELS_PER_BYTE = 512


class DamagedPictureError(ValueError):
    """The bytes are no whole picture; the message says what is wrong with them."""


def decode(data: Bytes, pixel_format: str, height: int, width: int, stride: int) -> Image:
    """One picture as a new ``uint8 [H, W, 3]`` RGB.

    Args:
        data: ``uint8 [N]``, as much as the driver says it wrote.
        pixel_format: One of :data:`FORMATS`.
        height, width: As negotiated. A JPEG tells its own size, which is taken.
        stride: Bytes from one row to the next, 0 for rows without a gap.

    Raises:
        DamagedPictureError: There are too few bytes, or they do not decode.
    """
    return FORMATS[pixel_format](data, height, width, stride)


def _jpeg(data: Bytes, height: int, width: int, _stride: int) -> Image:
    if data.size < max(4, height * width // _PIXELS_PER_BYTE):
        raise DamagedPictureError(f"{data.size} bytes for a JPEG of {width}x{height}")
    raw = data.tobytes()
    if not raw.startswith(_START):
        raise DamagedPictureError("no JPEG: it does not begin with FF D8")
    # Cameras fill up behind the end, so that it need not come last. Inside the picture FF D9 cannot occur.
    if _END not in raw[len(raw) // 2 :]:
        raise DamagedPictureError(f"a JPEG without its end, after {len(raw)} bytes")
    try:
        bgr = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise DamagedPictureError(f"a JPEG that does not decode: {error}") from error
    if bgr is None:
        raise DamagedPictureError(f"a JPEG of {len(raw)} bytes that does not decode")
    return to_rgb(np.asarray(bgr, np.uint8))


def _packed(channels: int, code: int | None) -> Decoder:
    """A format whose pixels take ``channels`` bytes each, and OpenCV's code for its way to RGB."""

    def decode_rows(data: Bytes, height: int, width: int, stride: int) -> Image:
        rows = _rows(data, height, width * channels, stride)
        pixels = np.ascontiguousarray(rows).reshape(height, width, channels)
        # The buffer goes back to the driver, so that even RGB has to be copied out of it.
        return pixels.copy() if code is None else np.asarray(cv2.cvtColor(pixels, code), np.uint8)

    return decode_rows


def _nv12(data: Bytes, height: int, width: int, stride: int) -> Image:
    rows = np.ascontiguousarray(_rows(data, height * 3 // 2, width, stride))
    return np.asarray(cv2.cvtColor(rows, cv2.COLOR_YUV2RGB_NV12), np.uint8)


def _rows(data: Bytes, height: int, row_bytes: int, stride: int) -> Bytes:
    stride = max(stride, row_bytes)
    # The last row may end with its pixels.
    if data.size < stride * (height - 1) + row_bytes:
        raise DamagedPictureError(f"{data.size} bytes instead of {stride * height}")
    return np.lib.stride_tricks.as_strided(data, (height, row_bytes), (stride, 1), writeable=False)


FORMATS: dict[str, Decoder] = {
    "MJPG": _jpeg,
    "YUYV": _packed(2, cv2.COLOR_YUV2RGB_YUYV),
    "UYVY": _packed(2, cv2.COLOR_YUV2RGB_UYVY),
    "NV12": _nv12,
    "RGB3": _packed(3, None),
    "BGR3": _packed(3, cv2.COLOR_BGR2RGB),
    "JPEG": _jpeg,
}
"""What can be decoded, by the kernel's four letters, in the order in which it is asked for."""
