"""From the bytes that a client sent to pixels: judged by their header, then decoded by OpenCV."""

from __future__ import annotations

import cv2
import numpy as np

from edgeseg.camera.base import to_rgb
from edgeseg.camera.picture_headers import check_whole, damaged, picture_size
from edgeseg.errors import PictureSizeError
from edgeseg.resize import Image

# As a model's input. Resizing and drawing take memory by the longer side too: strips took twice what squares
# of as many pixels did.
_LONGEST_SIDE = 8192


def read_picture(data: bytes, most_pixels: int) -> Image:
    """A PNG, JPEG, WebP or BMP file as ``uint8 [H, W, 3]`` RGB, turned as its EXIF orientation says.

    Raises:
        PictureKindError: It is of another kind.
        PictureSizeError: It has more than ``most_pixels`` pixels, or more than 8192 on a side. Nothing of it
            was decoded.
        PictureError: It is damaged or cut off, or an animation.
    """
    width, height = picture_size(data)
    if width * height > most_pixels:
        raise PictureSizeError(
            "picture",
            expected=f"at most {most_pixels} pixels",
            found=f"{width}x{height}",
            next_step="Send a smaller one, or start the service with a larger --max-pixels.",
        )
    if max(width, height) > _LONGEST_SIDE:
        raise PictureSizeError(
            "picture",
            expected=f"at most {_LONGEST_SIDE} pixels on a side",
            found=f"{width}x{height}",
            next_step="Cut it into parts.",
        )
    check_whole(data)
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise damaged("", "one that does not decode") from error
    if bgr is None:
        raise damaged("", "one that does not decode")
    return to_rgb(np.asarray(bgr, np.uint8))
