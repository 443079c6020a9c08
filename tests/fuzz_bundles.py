"""Mutate bundles and open them: ``fuzz_bundles.py FOLDER SEED COUNT``.

FOLDER is empty, and best in memory. Some mutations change bytes, as damage does; others change values and
write every hash anew, as a forger does. Printed as JSON: how many were refused with which error, what else
was raised, the slowest and the memory's peak.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import toys
from edgeseg.bundle import Bundle
from edgeseg.bundle.canonical import to_canonical_json
from edgeseg.bundle.manifest import _digest
from edgeseg.errors import BundleError
from edgeseg.runtimes.litert import refuse_custom_code
from edgeseg.runtimes.onnx_source import refuse_external_data

FILES = ("manifest.json", "golden.npz", "model.onnx", "report.json", "signature.json")
TOKENS = [
    *(b"NaN", b"-Infinity", b"1e400", b"9" * 5000, b"-", b"[" * 3000, b'{"a":' * 2000, b"\\ud800"),
    *(b'"digest": "",', b"null", b"\x00", b"\r\n", b'"', b"}", b"]", b"\\u0000", b"\xff\xfe", b"\xff" * 8),
    b"PK\x05\x06",
]
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 255, 2**31, 2**63 - 1, -(2**63), 0.5, 1e308),
    *("", "x", "0", "..", "a" * 5000, "\x00", "\x1b[2J", "model.onnx", "golden.npz", "manifest.json"),
    *("0" * 64, "😀", "int8", "tflite", "logits"),
    *([], [[]], {}, {"file": "x"}, [0] * 300, [None], ["x", "x"], {"a": {"b": []}}, [1, 32, 64]),
]

Draw = np.random.Generator


def main() -> None:
    folder, seed, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    template = toys.write_bundle(folder / "template", height=8, width=8)
    signature = {"schema_version": 1, "algorithm": "ed25519", "key": "0" * 64, "signature": "0" * 128}
    (template / "signature.json").write_bytes(to_canonical_json(signature))
    files = {name: (template / name).read_bytes() for name in FILES}
    models = toys.tflite_model(8, 8), files["model.onnx"]
    outcomes: Counter[str] = Counter()
    wrong, slowest = [], 0.0
    for number in range(count):
        draw = np.random.default_rng([seed, number])
        place = folder / "bundle"
        MUTATIONS[number % len(MUTATIONS)](place, dict(files), draw)
        started = time.monotonic()
        try:
            for outcome in _outcomes(place, *(_changed(model, draw) for model in models)):
                outcomes[outcome] += 1
        except Exception:  # noqa: BLE001 - that there is none is what is tested
            wrong.append(f"mutation {number}: {traceback.format_exc()}")
        slowest = max(slowest, time.monotonic() - started)
        shutil.rmtree(place)
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    peak = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
    found = {"outcomes": outcomes, "wrong": wrong, "slowest": slowest, "peak_mib": peak}
    json.dump(found, sys.stdout)


def _outcomes(place: Path, tflite: bytes, onnx: bytes) -> Iterator[str]:
    """Of everything that Python itself parses; what is left for native code is for the trial process."""
    readers = {
        "bundle": lambda: Bundle.open(place).golden(),
        "tflite": lambda: refuse_custom_code("model.tflite", tflite),
        "onnx": lambda: refuse_external_data("model.onnx", onnx),
    }
    for name, read in readers.items():
        try:
            read()
        except BundleError as error:
            if len(str(error)) > 2000 or not str(error).isprintable():
                raise AssertionError(f"a message of {len(str(error))} characters") from error
            yield f"{name}: {type(error).__name__}"
        else:
            yield f"{name}: opened"


def _damage(place: Path, files: dict[str, bytes], draw: Draw) -> None:
    name = str(draw.choice(FILES))
    _write(place, {**files, name: _changed(files[name], draw)})


def _forge_values(place: Path, files: dict[str, bytes], draw: Draw) -> None:
    values = json.loads(files["manifest.json"])
    for _ in range(int(draw.integers(1, 4))):
        _change_value(values, draw)
    _write(place, {**files, "manifest.json": _manifest(values)})


def _forge_text(place: Path, files: dict[str, bytes], draw: Draw) -> None:
    """Tokens that no serialiser writes, in the manifest's or the signature's own place."""
    name = str(draw.choice(("manifest.json", "signature.json")))
    lines = files[name].split(b"\n")
    lines[int(draw.integers(len(lines)))] = b"  " + TOKENS[int(draw.integers(len(TOKENS)))]
    _write(place, {**files, name: b"\n".join(lines)})


def _forge_member(place: Path, files: dict[str, bytes], draw: Draw) -> None:
    """Another golden archive, model or report, with its size and hash in the manifest."""
    name = str(draw.choice(("golden.npz", "golden.npz", "model.onnx", "report.json")))
    data = _changed(files[name], draw)
    values = json.loads(files["manifest.json"])
    for member in values["members"]:
        if member["file"] == name:
            member |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    _write(place, {**files, name: data, "manifest.json": _manifest(values)})


def _change_folder(place: Path, files: dict[str, bytes], draw: Draw) -> None:
    _write(place, files)
    path = place / str(draw.choice(FILES))
    what = int(draw.integers(7))
    if what in (0, 1, 2):
        path.unlink()
        ((lambda: None), path.mkdir, lambda: os.mkfifo(path))[what]()
    elif what == 3:
        path.rename(place / path.name.upper())
    elif what == 4:
        path.with_name("other").symlink_to(path)
    elif what == 5:
        path.with_name(bytes(draw.integers(1, 256, 6, np.uint8)).replace(b"/", b"_").decode("latin1")).touch()
    else:
        os.truncate(path, int(draw.integers(1 << 40)))


MUTATIONS: tuple[Callable[[Path, dict[str, bytes], Draw], None], ...] = (
    _damage,
    _forge_values,
    _forge_text,
    _forge_member,
    _change_folder,
)


def _write(place: Path, files: dict[str, bytes]) -> None:
    place.mkdir()
    for name, data in files.items():
        (place / name).write_bytes(data)


def _manifest(values: dict[str, Any]) -> bytes:
    return to_canonical_json({**values, "digest": _digest(values)})


def _changed(data: bytes, draw: Draw) -> bytes:
    """Some bytes flipped, cut, doubled or put in."""
    changed = bytearray(data)
    for _ in range(int(draw.integers(1, 6))):
        place = int(draw.integers(len(changed) + 1))
        end = place + int(draw.integers(1, 64))
        what = int(draw.integers(5))
        if what == 0 and place < len(changed):
            changed[place] ^= int(draw.integers(1, 256))
        elif what == 1:
            del changed[place:end]
        elif what == 2:
            changed[place:place] = changed[place:end]
        elif what == 3:
            changed[place:place] = TOKENS[int(draw.integers(len(TOKENS)))]
        else:
            changed[place:end] = bytes(draw.integers(0, 256, end - place, np.uint8))
    return bytes(changed)


def _change_value(values: dict[str, Any], draw: Draw) -> None:
    """Somewhere in it: another value, none, one more, or one under another key."""
    inside: Any = values
    while True:
        keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
        key = keys[int(draw.integers(len(keys)))]
        if not (isinstance(inside[key], (dict, list)) and inside[key] and draw.random() < 0.8):
            break
        inside = inside[key]
    value, again = copy.deepcopy((VALUES[int(draw.integers(len(VALUES)))], inside[key]))
    what = int(draw.integers(4))
    if what == 0:
        del inside[key]
    elif what == 1 and isinstance(inside, dict):
        inside[str(value)[:50]] = again
    elif what == 1:
        inside.append(again)
    else:
        inside[key] = value


if __name__ == "__main__":
    main()
