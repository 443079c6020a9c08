"""The files in a bundle's folder: what they may be called, which may be there, and how they are read."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Collection
from itertools import islice
from pathlib import Path
from typing import NoReturn

from edgeseg.errors import (
    MemberCountError,
    MemberKindError,
    MemberLinkError,
    MemberMissingError,
    MemberNameError,
    MemberSizeError,
    MemberUnexpectedError,
)

MAX_FILES = 64
COPY_AGAIN = "Copy the bundle again from where it was exported; it must not be used as it is."

# What every file system can hold, under one and the same name, and no shell or terminal takes for more.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._+-]{0,98}[A-Za-z0-9_+-])?")
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
# With fstat on the open file: what was checked cannot be swapped for a link afterwards. A named pipe would
# block the open for ever.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check_names(manifest: Path, names: Collection[str], reserved: Collection[str]) -> None:
    """The names that a manifest gives its members.

    Raises:
        MemberNameError: One is not plain, is taken by edgeseg itself, or differs from another in case alone.
    """
    for name in names:
        if not _PLAIN_NAME.fullmatch(name) or _DEVICES.fullmatch(name):
            raise _bad_name(manifest, "plain file names, of letters, digits and . _ + -", shown(name))
        if name.lower() in reserved:
            raise _bad_name(manifest, f"other members than {', '.join(reserved)}", shown(name))
    most = Counter(name.lower() for name in names).most_common(1)
    if most and most[0][1] > 1:
        same = ", ".join(name for name in names if name.lower() == most[0][0])
        raise _bad_name(manifest, "names that differ in more than upper and lower case", same)


def check_file_set(folder: Path, named: Collection[str], optional: str) -> None:
    """The folder holds the files named, perhaps the optional one, and nothing else.

    Raises:
        MemberCountError: It holds more than any bundle; not all of it was listed.
        MemberUnexpectedError, MemberMissingError: It holds another file, or lacks one.
    """
    with os.scandir(folder) as entries:
        there = {entry.name for entry in islice(entries, MAX_FILES + 1)}
    if len(there) > MAX_FILES:
        raise MemberCountError(
            folder, expected=f"at most {MAX_FILES} files", found="more", next_step=COPY_AGAIN
        )
    for name in sorted(there - {*named, optional}):
        raise MemberUnexpectedError(
            folder / shown(name),
            expected=f"only the bundle's members: {', '.join(named)}",
            found="a file that the manifest does not name",
            next_step="Remove it, or copy the bundle again.",
        )
    for name in named:
        if name not in there:
            raise missing(folder / name)


def read_file(path: Path, limit: int, size: int | None = None) -> bytes:
    """A regular file's bytes; its kind and its size are checked before anything is allocated.

    Raises:
        MemberMissingError: It is not there.
        MemberLinkError, MemberKindError: It is a link, has a second name, or is no file.
        MemberUnexpectedError: It may not be read.
        MemberSizeError: It is longer than ``limit``, or not of the ``size`` given.
    """
    try:
        # First without opening: to open a device can set it going.
        _check_kind(path, os.lstat(path))
        descriptor = os.open(path, _OPEN_FLAGS)
    except FileNotFoundError:
        raise missing(path) from None
    except OSError as error:
        raise MemberUnexpectedError(
            path, expected="a readable regular file", found=str(error.strerror), next_step=COPY_AGAIN
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        _check_kind(path, status)
        if status.st_size > limit or (size is not None and status.st_size != size):
            expected = f"{size} bytes" if size is not None else f"at most {limit} bytes"
            raise MemberSizeError(
                path, expected=expected, found=f"{status.st_size} bytes", next_step=COPY_AGAIN
            )
        # Shorter where the file shrinks meanwhile: the hash tells.
        return file.read(status.st_size)


def shown(text: str, longest: int = 60) -> str:
    """A name or a message from outside, short and harmless to a terminal."""
    start = text if len(text) <= longest else f"{text[:longest]}…"
    return start if start.isprintable() else ascii(start)


def missing(path: Path) -> MemberMissingError:
    return MemberMissingError(path, expected="the file", found="nothing there", next_step=COPY_AGAIN)


def _check_kind(path: Path, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        _refuse_link(path, "a symbolic link", "Copy what it leads to in its place (cp -L).")
    for is_kind, name in _KINDS:
        if is_kind(status.st_mode):
            raise MemberKindError(path, expected="a regular file", found=name, next_step=COPY_AGAIN)
    if status.st_nlink > 1:
        # Whoever holds the other name may write to it, whatever the rights of this folder.
        found = f"a file of {status.st_nlink} names (hard links)"
        _refuse_link(path, found, "Copy the bundle to files of its own (cp -r --no-preserve=links).")


def _refuse_link(path: Path, found: str, next_step: str) -> NoReturn:
    raise MemberLinkError(path, expected="a file of its own", found=found, next_step=next_step)


def _bad_name(manifest: Path, expected: str, found: str) -> MemberNameError:
    return MemberNameError(
        manifest, expected=expected, found=f"the member name {found!r}", next_step=COPY_AGAIN
    )
