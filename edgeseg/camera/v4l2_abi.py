"""The kernel's V4L2 interface, as far as it is used here: ``linux/videodev2.h`` in ctypes, on 64-bit Linux.

Names are the header's. Tests hold sizes, offsets and request codes against it.
"""

from __future__ import annotations

from ctypes import Structure, Union, c_char, c_int, c_long, c_uint8, c_uint32, c_ulong, sizeof

_WRITE, _READ = 1, 2


def request_code(direction: int, number: int, size: int) -> int:
    """An ioctl's number by the formula of ``asm-generic/ioctl.h``, for V4L2's letter ``V``."""
    return direction << 30 | size << 16 | ord("V") << 8 | number


class Capability(Structure):
    _fields_ = [
        ("driver", c_char * 16),
        ("card", c_char * 32),
        ("bus_info", c_char * 32),
        ("version", c_uint32),
        ("capabilities", c_uint32),
        ("device_caps", c_uint32),
        ("reserved", c_uint32 * 3),
    ]


class PixFormat(Structure):
    _fields_ = [
        ("width", c_uint32),
        ("height", c_uint32),
        ("pixelformat", c_uint32),
        ("field", c_uint32),
        ("bytesperline", c_uint32),
        ("sizeimage", c_uint32),
        ("colorspace", c_uint32),
        ("priv", c_uint32),
        ("flags", c_uint32),
        ("ycbcr_enc", c_uint32),
        ("quantization", c_uint32),
        ("xfer_func", c_uint32),
    ]


class _FormatUnion(Union):
    # Other kinds of format hold pointers, which align the union to 8 bytes.
    _fields_ = [("pix", PixFormat), ("raw_data", c_uint8 * 200), ("_align", c_ulong)]


class Format(Structure):
    _fields_ = [("type", c_uint32), ("fmt", _FormatUnion)]


class Fraction(Structure):
    _fields_ = [("numerator", c_uint32), ("denominator", c_uint32)]


class CaptureParm(Structure):
    _fields_ = [
        ("capability", c_uint32),
        ("capturemode", c_uint32),
        ("timeperframe", Fraction),
        ("extendedmode", c_uint32),
        ("readbuffers", c_uint32),
        ("reserved", c_uint32 * 4),
    ]


class _ParmUnion(Union):
    _fields_ = [("capture", CaptureParm), ("raw_data", c_uint8 * 200)]


class StreamParm(Structure):
    _fields_ = [("type", c_uint32), ("parm", _ParmUnion)]


class RequestBuffers(Structure):
    _fields_ = [
        ("count", c_uint32),
        ("type", c_uint32),
        ("memory", c_uint32),
        ("capabilities", c_uint32),
        ("flags", c_uint8),
        ("reserved", c_uint8 * 3),
    ]


class TimeVal(Structure):
    _fields_ = [("tv_sec", c_long), ("tv_usec", c_long)]


class TimeCode(Structure):
    _fields_ = [
        ("type", c_uint32),
        ("flags", c_uint32),
        ("frames", c_uint8),
        ("seconds", c_uint8),
        ("minutes", c_uint8),
        ("hours", c_uint8),
        ("userbits", c_uint8 * 4),
    ]


class _BufferPlace(Union):
    _fields_ = [("offset", c_uint32), ("userptr", c_ulong)]


class Buffer(Structure):
    _fields_ = [
        ("index", c_uint32),
        ("type", c_uint32),
        ("bytesused", c_uint32),
        ("flags", c_uint32),
        ("field", c_uint32),
        ("timestamp", TimeVal),
        ("timecode", TimeCode),
        ("sequence", c_uint32),
        ("memory", c_uint32),
        ("m", _BufferPlace),
        ("length", c_uint32),
        ("reserved2", c_uint32),
        ("request_fd", c_uint32),
    ]


VIDIOC_QUERYCAP = request_code(_READ, 0, sizeof(Capability))
VIDIOC_G_FMT = request_code(_READ | _WRITE, 4, sizeof(Format))
VIDIOC_S_FMT = request_code(_READ | _WRITE, 5, sizeof(Format))
VIDIOC_REQBUFS = request_code(_READ | _WRITE, 8, sizeof(RequestBuffers))
VIDIOC_QUERYBUF = request_code(_READ | _WRITE, 9, sizeof(Buffer))
VIDIOC_QBUF = request_code(_READ | _WRITE, 15, sizeof(Buffer))
VIDIOC_DQBUF = request_code(_READ | _WRITE, 17, sizeof(Buffer))
VIDIOC_STREAMON = request_code(_WRITE, 18, sizeof(c_int))
VIDIOC_STREAMOFF = request_code(_WRITE, 19, sizeof(c_int))
VIDIOC_G_PARM = request_code(_READ | _WRITE, 21, sizeof(StreamParm))
VIDIOC_S_PARM = request_code(_READ | _WRITE, 22, sizeof(StreamParm))

BUF_TYPE_VIDEO_CAPTURE = 1
MEMORY_MMAP = 1
FIELD_ANY, FIELD_NONE = 0, 1

CAP_VIDEO_CAPTURE = 0x00000001
CAP_STREAMING = 0x04000000
CAP_DEVICE_CAPS = 0x80000000
CAP_TIMEPERFRAME = 0x1000

BUF_FLAG_ERROR = 0x0040
BUF_FLAG_TIMESTAMP_MASK = 0xE000
BUF_FLAG_TIMESTAMP_MONOTONIC = 0x2000


def fourcc(letters: str) -> int:
    """A pixel format's number from its four letters."""
    return int.from_bytes(letters.encode("ascii"), "little")


def letters(code: int) -> str:
    """A pixel format's four letters from its number; what cannot be shown is a ``?``."""
    return "".join(chr(byte) if 32 < byte < 127 else "?" for byte in code.to_bytes(4, "little"))
