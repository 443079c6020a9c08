"""What kind of picture some bytes are and how large, told by their header alone: nothing is decoded.

A picture of a few kilobytes may stand for gigabytes of pixels, so its size is known before a decoder sees it.
The kinds are those whose header is short and unambiguous. OpenCV would decode more: TIFF, AVIF, JPEG 2000 and
others are refused.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from edgeseg.errors import PictureError, PictureKindError

_MOST_SEGMENTS = 10_000
# A progressive JPEG has about ten. Each makes the decoder go over all pixels again, for a few bytes.
_MOST_SCANS = 100
_WEBP_ANIMATED = 0x02
_NO_SIZE = (0x01, *range(0xD0, 0xD9))
_SCAN, _END = 0xDA, 0xD9
# Between the bytes of a scan 0xFF is followed by zero or by a restart's number.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True)
class Kind:
    """A kind of picture.

    Args:
        name: For messages.
        media_type: For HTTP.
        matches: Whether bytes begin as one.
        size: (width, height) of one; ``struct.error``, ``IndexError`` or ``ValueError`` where it has none.
        check: Looks for what a decoder should not see; raises the same.
    """

    name: str
    media_type: str
    matches: Callable[[bytes], bool]
    size: Callable[[bytes], tuple[int, int]]
    check: Callable[[bytes], None] = lambda _data: None


def check_whole(data: bytes, subject: str = "picture") -> None:
    """What a decoder would trust, and should not: lengths that lead beyond the end, scans without number.

    Raises:
        PictureError: There is some of it, or the file was cut off, or it is an animation.
    """
    kind = _kind(data, subject)
    try:
        kind.check(data)
    except (struct.error, ValueError) as error:
        found = str(error) if isinstance(error, ValueError) else f"one that ends after {len(data)} bytes"
        raise damaged(kind.name, found, subject) from error


def picture_size(data: bytes, subject: str = "picture") -> tuple[int, int]:
    """(width, height) in pixels, as the header says: before a turn that EXIF may ask for.

    Raises:
        PictureKindError: It is no PNG, JPEG, WebP or BMP.
        PictureError: Its header is damaged or cut off, or it is an animation.
    """
    kind = _kind(data, subject)
    try:
        width, height = kind.size(data)
    except (struct.error, IndexError, ValueError) as error:
        found = str(error) if isinstance(error, ValueError) else f"one that ends after {len(data)} bytes"
        raise damaged(kind.name, found, subject) from error
    if width < 1 or height < 1:
        raise damaged(kind.name, f"{width}x{height} pixels", subject)
    return width, height


def _kind(data: bytes, subject: str) -> Kind:
    kind = next((kind for kind in KINDS if kind.matches(data)), None)
    if kind is None:
        raise PictureKindError(
            subject,
            expected=f"the bytes of a {', '.join(k.name for k in KINDS[:-1])} or {KINDS[-1].name} file",
            found=f"{len(data)} bytes that begin with {data[:8].hex(' ')}" if data else "no bytes",
            next_step="Send a picture's file itself.",
        )
    return kind


def damaged(kind: str, found: str, subject: str = "picture") -> PictureError:
    """The error about a picture that is not whole."""
    return PictureError(
        subject,
        expected=f"a whole {kind} picture",
        found=found,
        next_step="Send the file again, or another.",
    )


def _png_size(data: bytes) -> tuple[int, int]:
    if data[8:16] != b"\0\0\0\x0dIHDR":
        raise ValueError("a file whose first part is not its header")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _check_png(data: bytes) -> None:
    """OpenCV makes room for what a chunk says that it holds, up to 2 GiB, before it looks for it."""
    at = 8
    for _ in range(_MOST_SEGMENTS):
        length, kind = struct.unpack_from(">I4s", data, at)
        at += 12 + length
        if at > len(data):
            raise ValueError("one that was cut off, or says a wrong length of a part")
        if kind == b"acTL":
            raise ValueError("an animation")
        if kind == b"IEND":
            return
    raise ValueError(f"more than {_MOST_SEGMENTS} parts")


def _check_jpeg(data: bytes) -> None:
    """From marker to marker: what an EXIF preview or a film behind the picture holds is none of it."""
    at, scans = 2, 0
    while marker := _MARKER.search(data, at):
        kind = marker[0][-1]
        if kind == _END:
            return
        scans += kind == _SCAN
        if scans > _MOST_SCANS:
            raise ValueError(f"more than {_MOST_SCANS} scans")
        at = marker.end()
        if kind not in _NO_SIZE:
            at += max(struct.unpack_from(">H", data, at)[0], 2)
    raise ValueError("one without an end: it was cut off")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    for _ in range(_MOST_SEGMENTS):
        if data[at] != 0xFF:
            raise ValueError(f"bytes between its segments, at {at}")
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker in _NO_SIZE:
            continue
        if marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">3xHH", data, at)
            return width, height
        if marker in (0xD9, 0xDA):
            break
        at += max(struct.unpack_from(">H", data, at)[0], 2)
    raise ValueError("one that does not say its size")


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8 ":
        if data[23:26] != b"\x9d\x01\x2a":
            raise ValueError("a damaged header")
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        if data[20] != 0x2F:
            raise ValueError("a damaged header")
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        if data[20] & _WEBP_ANIMATED:
            raise ValueError("an animation")
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", data, 24)
        return (low_w | high_w << 16) + 1, (low_h | high_h << 16) + 1
    raise ValueError("a damaged header")


def _bmp_size(data: bytes) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", data, 14)
    if header == 12:
        width, height = struct.unpack_from("<HH", data, 18)
        return width, height
    if header not in (40, 52, 56, 64, 108, 124):
        raise ValueError(f"a header of {header} bytes")
    width, height = struct.unpack_from("<ii", data, 18)
    # Rows from the top down have a negative height.
    return width, abs(height)


KINDS = (
    Kind("PNG", "image/png", lambda data: data[:8] == b"\x89PNG\r\n\x1a\n", _png_size, _check_png),
    Kind("JPEG", "image/jpeg", lambda data: data[:3] == b"\xff\xd8\xff", _jpeg_size, _check_jpeg),
    Kind("WebP", "image/webp", lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP", _webp_size),
    Kind("BMP", "image/bmp", lambda data: data[:2] == b"BM", _bmp_size),
)
