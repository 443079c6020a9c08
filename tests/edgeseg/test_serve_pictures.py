"""Pictures are judged by their header before anything is decoded, and what is not whole is refused."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseg.camera.picture_headers import check_whole, picture_size
from edgeseg.errors import PictureError, PictureKindError, PictureSizeError
from edgeseg.serve.pictures import read_picture

FRAME = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
KINDS = (".png", ".jpg", ".webp", ".bmp")
MOST = 10_000
MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"RIFF0000WEBP")


def encoded(kind: str, picture: np.ndarray = FRAME, *options: int) -> bytes:
    return cv2.imencode(kind, picture, list(options))[1].tobytes()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


@pytest.mark.parametrize("kind", KINDS)
def test_what_opencv_writes_is_read(kind: str) -> None:
    data = encoded(kind)
    assert picture_size(data) == (60, 40)
    picture = read_picture(data, 60 * 40)
    assert (picture.shape, picture.dtype) == ((40, 60, 3), np.uint8)
    if kind in (".png", ".bmp"):
        np.testing.assert_array_equal(picture[..., ::-1], FRAME)


@pytest.mark.parametrize(
    "data",
    [
        encoded(".webp", FRAME, cv2.IMWRITE_WEBP_QUALITY, 50),
        encoded(".webp", np.dstack([FRAME, FRAME[..., 0]]), cv2.IMWRITE_WEBP_QUALITY, 50),
        encoded(".jpg", FRAME, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        encoded(".jpg", FRAME[..., 0]),
        encoded(".png", FRAME.astype(np.uint16) * 257),
        encoded(".png", np.dstack([FRAME, FRAME[..., 0]])),
    ],
    ids=["lossy webp", "webp with alpha", "progressive jpeg", "grey jpeg", "16 bits", "png with alpha"],
)
def test_other_forms_of_them(data: bytes) -> None:
    assert picture_size(data) == (60, 40)
    assert read_picture(data, MOST).shape == (40, 60, 3)


def test_it_is_turned_as_exif_says() -> None:
    # Orientation 6: a quarter turn.
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    jpeg = encoded(".jpg")
    turned = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
    assert read_picture(turned, MOST).shape == (60, 40, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_pixels_are_told_by_the_header(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cv2.imdecode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(PictureSizeError, match=r"at most 2399 pixels, found 60x40"):
        read_picture(encoded(kind), 60 * 40 - 1)


def test_a_long_strip_is_refused_by_its_header() -> None:
    for size in ((8193, 1), (1, 8193)):
        with pytest.raises(PictureSizeError, match="8192 pixels on a side"):
            read_picture(png_header(*size), MOST)


def test_a_bomb_is_refused_by_its_header() -> None:
    with pytest.raises(PictureSizeError, match="30000x30000"):
        read_picture(png_header(30_000, 30_000), MOST)
    bmp = bytearray(encoded(".bmp"))
    bmp[18:26] = struct.pack("<ii", 30_000, -30_000)
    with pytest.raises(PictureSizeError, match="30000x30000"):
        read_picture(bytes(bmp), MOST)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_was_cut_off(kind: str) -> None:
    data = encoded(kind)
    for length in (*range(3, 60), len(data) // 2, len(data) - 8, len(data) - 1):
        with pytest.raises(PictureError, match="picture: expected"):
            read_picture(data[:length], MOST)


def test_what_is_no_picture() -> None:
    tiff = encoded(".tiff")
    for data in (b"", b"x", b"<svg/>", b"GIF89a" + bytes(40), tiff, b"%PDF-1.7", b"RIFF\0\0\0\0WAVE"):
        with pytest.raises(PictureKindError, match="PNG, JPEG, WebP or BMP"):
            read_picture(data, MOST)


def test_animations_are_refused() -> None:
    still = encoded(".png")
    moving = still[:33] + chunk(b"acTL", struct.pack(">II", 1000, 0)) + still[33:]
    webp = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0" + b"\x3b\0\0\x27\0\0"
    for data in (moving, webp):
        with pytest.raises(PictureError, match="an animation"):
            read_picture(data, MOST)


def test_a_png_whose_part_says_that_it_is_huge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cv2.imdecode", lambda *_: pytest.fail("its decoder would make room for 855 MB"))
    data = bytearray(encoded(".png"))
    data[33:37] = (855_000_000).to_bytes(4, "big")
    with pytest.raises(PictureError, match="wrong length"):
        read_picture(bytes(data), MOST)


@pytest.mark.parametrize(
    "options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)]
)
def test_a_jpeg_with_a_film_behind_it(options: tuple[int, ...]) -> None:
    """As telephones write them; nothing behind the picture's end is its own."""
    data = encoded(".jpg", FRAME, *options)
    check_whole(data + b"film" + 200 * b"\xff\xda\x00\x08")
    with pytest.raises(PictureError, match="cut off"):
        check_whole(data[:-2])


def test_a_jpeg_of_endless_scans() -> None:
    data = encoded(".jpg", FRAME, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    at = data.rindex(b"\xff\xda")
    with pytest.raises(PictureError, match="scans"):
        read_picture(data[:at] + data[at:-2] * 200 + data[-2:], MOST)


def test_a_picture_without_pixels() -> None:
    with pytest.raises(PictureError, match="0x7"):
        read_picture(png_header(0, 7), MOST)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    st.integers(0, 200),
)
def test_damage_gives_a_picture_or_a_picture_error(
    kind: str, changes: list[tuple[int, int]], missing: int
) -> None:
    data = bytearray(encoded(kind))
    for at, value in changes:
        data[at % len(data)] = value
    with suppress(PictureError):
        assert read_picture(bytes(data[: len(data) - missing]), MOST).size <= 3 * MOST


@given(st.binary(max_size=300), st.sampled_from(MAGIC))
def test_any_bytes_behind_a_magic_number(data: bytes, magic: bytes) -> None:
    with suppress(PictureError):
        assert min(picture_size(magic + data)) >= 1
