"""No bundle that was changed in any way is ever opened."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg.bundle import Bundle, Manifest
from edgeseg.bundle.golden import MAX_GOLDEN_FRAMES
from edgeseg.errors import (
    BundleError,
    BundleMissingError,
    GoldenMismatchError,
    ManifestError,
    MemberHashError,
    MemberMissingError,
    MemberSizeError,
    MemberUnexpectedError,
)

MEMBERS = ("manifest.json", "model.onnx", "golden.npz", "report.json")


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_bytes())


def rewrite_manifest(folder: Path, **changes: Any) -> None:
    """A manifest whose own digest is right, as an attacker or a faulty exporter could write it."""
    from edgeseg.bundle.canonical import to_canonical_json
    from edgeseg.bundle.manifest import _digest

    values = {**manifest_of(folder), **changes}
    (folder / "manifest.json").write_bytes(to_canonical_json({**values, "digest": _digest(values)}))


def test_opens_with_members_as_they_were_written(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    assert opened.labels.names == ("red", "green", "blue")
    assert set(opened.members) == set(MEMBERS) - {"manifest.json"}
    assert opened.model_bytes(opened.manifest.models[0]) == (bundle / "model.onnx").read_bytes()
    assert len(opened.digest) == 64


def test_may_be_reached_through_a_link(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "current.edgeseg").symlink_to(bundle)
    assert Bundle.open(tmp_path / "current.edgeseg").manifest.name == "toy"


@pytest.mark.parametrize("member", MEMBERS)
def test_any_flipped_bit_is_found_and_its_member_named(bundle: Path, member: str) -> None:
    path = bundle / member
    data = path.read_bytes()
    places = sorted({0, 1, len(data) // 3, len(data) // 2, len(data) - 1})
    for place in places:
        for bit in (0, 5, 7):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            with pytest.raises(BundleError, match=member) as caught:
                Bundle.open(bundle)
            assert caught.value.exit_code == 8
    path.write_bytes(data)
    Bundle.open(bundle)


def test_every_single_byte_of_the_manifest_counts(bundle: Path) -> None:
    data = (bundle / "manifest.json").read_bytes()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x01
        with pytest.raises(ManifestError):
            Manifest.from_bytes(bytes(changed))


@pytest.mark.parametrize("member", MEMBERS)
def test_truncated_and_lengthened_members_are_refused(bundle: Path, member: str) -> None:
    path = bundle / member
    data = path.read_bytes()
    for changed in (data[:-1], data[: len(data) // 2], b"", data + b"\n"):
        path.write_bytes(changed)
        with pytest.raises((MemberSizeError, ManifestError), match=member):
            Bundle.open(bundle)


@pytest.mark.parametrize("member", MEMBERS)
def test_missing_member_is_named(bundle: Path, member: str) -> None:
    (bundle / member).unlink()
    with pytest.raises(MemberMissingError, match=member):
        Bundle.open(bundle)


@pytest.mark.parametrize("extra", ["weights.bin", ".hidden", "folder/"])
def test_anything_else_in_the_folder_is_refused(bundle: Path, extra: str) -> None:
    if extra.endswith("/"):
        (bundle / extra).mkdir()
    else:
        (bundle / extra).write_bytes(b"")
    with pytest.raises(MemberUnexpectedError, match=extra.rstrip("/")):
        Bundle.open(bundle)


@pytest.mark.parametrize("member", MEMBERS)
def test_a_linked_member_is_refused_even_with_the_right_bytes(
    bundle: Path, member: str, tmp_path: Path
) -> None:
    shutil.move(bundle / member, tmp_path / member)
    (bundle / member).symlink_to(tmp_path / member)
    with pytest.raises(MemberUnexpectedError, match=member):
        Bundle.open(bundle)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("member", MEMBERS)
def test_a_pipe_or_folder_in_a_members_place_is_refused_at_once(bundle: Path, member: str) -> None:
    (bundle / member).unlink()
    os.mkfifo(bundle / member)
    with pytest.raises(BundleError, match=member):
        Bundle.open(bundle)
    (bundle / member).unlink()
    (bundle / member).mkdir()
    with pytest.raises(BundleError, match=member):
        Bundle.open(bundle)


def test_a_huge_file_is_refused_unread(bundle: Path) -> None:
    for member in ("model.onnx", "manifest.json"):
        with (bundle / member).open("r+b") as file:
            file.truncate(1 << 40)  # sparse: no disk is used
        with pytest.raises(MemberSizeError, match=member):
            Bundle.open(bundle)


def test_members_that_are_too_much_together_are_refused(bundle: Path) -> None:
    members = [{**m, "size": 1 << 31} for m in manifest_of(bundle)["members"]]
    rewrite_manifest(bundle, members=members)
    with pytest.raises(MemberSizeError, match="in all"):
        Bundle.open(bundle)


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "a/b", "..", ".", "", "a\\b", "a/", "a\0b"])
def test_names_that_lead_elsewhere_are_refused(bundle: Path, name: str) -> None:
    members = [*manifest_of(bundle)["members"], {"file": name, "size": 0, "sha256": "0" * 64}]
    rewrite_manifest(bundle, members=members)
    with pytest.raises(MemberUnexpectedError, match="plain file names"):
        Bundle.open(bundle)


def test_a_model_without_a_hash_is_refused(bundle: Path) -> None:
    for left_out in ("model.onnx", "golden.npz"):
        members = [m for m in manifest_of(bundle)["members"] if m["file"] != left_out]
        rewrite_manifest(bundle, members=members)
        with pytest.raises(MemberMissingError, match=left_out):
            Bundle.open(bundle)


def test_members_named_twice_are_refused(bundle: Path) -> None:
    members = manifest_of(bundle)["members"]
    rewrite_manifest(bundle, members=[*members, members[0]])
    with pytest.raises(ManifestError, match="once each"):
        Bundle.open(bundle)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_schema_says_what_to_do(bundle: Path, version: object) -> None:
    rewrite_manifest(bundle, schema_version=version)
    with pytest.raises(ManifestError, match="schema version 1") as caught:
        Bundle.open(bundle)
    assert "release" in caught.value.next_step


def _label(**changes: Any) -> dict[str, Any]:
    return {
        "name": "x",
        "ignore_index": 255,
        "classes": [{"id": 0, "name": "a", "color": [1, 2, 3]}],
        **changes,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"surprise": 1},
        {"models": []},
        {"precision": "fp8"},
        {"input": {"height": 0, "width": 64}},
        {"output": {"kind": "mask", "dtype": "uint8", "shape": [1, 32, 65]}},
        {"output": {"kind": "mask", "dtype": "float32", "shape": [1, 32, 64]}},
        {"output": {"kind": "logits", "dtype": "float32", "shape": [1, 32, 64, 4]}},
        {"labels": _label(classes=[])},
        {"labels": _label(classes=[{"id": 5, "name": "a", "color": [1, 2, 3]}])},
        {"labels": _label(ignore_index=0)},
        {"labels": _label(classes=[{"id": 0, "name": "a", "color": [1, 2, 300]}])},
    ],
)
def test_a_manifest_that_cannot_be_true_is_refused(bundle: Path, changes: dict[str, Any]) -> None:
    rewrite_manifest(bundle, **changes)
    with pytest.raises(ManifestError, match=r"manifest\.json"):
        Bundle.open(bundle)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"schema_version": 1',
        b"[" * 100_000,
        b"NaN",
        b'{"a": NaN}',
        b'"\\ud800"',
    ],
)
def test_bytes_that_are_no_manifest(data: bytes) -> None:
    with pytest.raises(ManifestError):
        Manifest.from_bytes(data)


def test_the_same_values_written_otherwise_are_refused(bundle: Path) -> None:
    path = bundle / "manifest.json"
    path.write_text(json.dumps(manifest_of(bundle)))
    with pytest.raises(ManifestError):
        Bundle.open(bundle)


def test_a_model_is_either_exported_or_wrapped(bundle: Path) -> None:
    (model,) = manifest_of(bundle)["models"]
    del model["parity"]
    rewrite_manifest(bundle, models=[model])
    with pytest.raises(ManifestError, match="either parity with its Keras model or a wrapping"):
        Bundle.open(bundle)


def test_a_manifest_survives_its_own_bytes(bundle: Path) -> None:
    data = (bundle / "manifest.json").read_bytes()
    assert Manifest.from_bytes(data).to_bytes() == data


def test_no_bundle_there(tmp_path: Path) -> None:
    (tmp_path / "file.edgeseg").write_bytes(b"")
    for name in ("none.edgeseg", "file.edgeseg"):
        with pytest.raises(BundleMissingError, match=name):
            Bundle.open(tmp_path / name)


def _golden(frames: np.ndarray | None, masks: np.ndarray | None) -> bytes:
    file = io.BytesIO()
    arrays = {"frames": frames, "masks_fp32": masks}
    np.savez_compressed(file, **{name: array for name, array in arrays.items() if array is not None})
    return file.getvalue()


def _bomb() -> bytes:
    """An array whose header claims more than any machine has."""
    header = io.BytesIO()
    description = {"descr": "|u1", "fortran_order": False, "shape": (1 << 50, 32, 64, 3)}
    np.lib.format.write_array_header_1_0(header, description)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("frames.npy", header.getvalue())
    return file.getvalue()


def _short() -> bytes:
    whole = io.BytesIO(_golden(np.zeros((2, 32, 64, 3), np.uint8), np.zeros((2, 32, 64), np.uint8)))
    file = io.BytesIO()
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(file, "w") as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name)[:-10])
    return file.getvalue()


def _repacked(compression: int) -> bytes:
    whole = io.BytesIO(_golden(np.zeros((2, 32, 64, 3), np.uint8), np.zeros((2, 32, 64), np.uint8)))
    file = io.BytesIO()
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(file, "w", compression) as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name))
    return file.getvalue()


def _encrypted() -> bytes:
    """The flag alone: zipfile asks for a password before it reads anything."""
    data = bytearray(_repacked(zipfile.ZIP_STORED))
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.find(header)
        while place >= 0:
            data[place + flags] |= 1
            place = data.find(header, place + 4)
    return bytes(data)


_FRAMES, _MASKS = np.zeros((2, 32, 64, 3), np.uint8), np.zeros((2, 32, 64), np.uint8)


@pytest.mark.parametrize(
    "golden",
    [
        b"",
        b"no zip",
        _golden(_FRAMES, None),
        _golden(None, _MASKS),
        _golden(_FRAMES[:0], _MASKS[:0]),
        _golden(_FRAMES, _MASKS[:1]),
        _golden(_FRAMES.astype(np.float32), _MASKS),
        _golden(_FRAMES[:, :16], _MASKS),
        _golden(_FRAMES[0], _MASKS),
        _golden(np.asfortranarray(_FRAMES), _MASKS),
        _golden(np.array([{}], object), _MASKS),
        _golden(np.zeros((MAX_GOLDEN_FRAMES + 1, 32, 64, 3), np.uint8), _MASKS),
        _bomb(),
        _short(),
        _repacked(zipfile.ZIP_LZMA),
        _repacked(zipfile.ZIP_BZIP2),
        _encrypted(),
    ],
)
def test_golden_archives_that_do_not_fit(make_bundle: Any, golden: bytes) -> None:
    with pytest.raises(GoldenMismatchError, match=r"golden\.npz"):
        Bundle.open(make_bundle(golden=golden)).golden()


@pytest.mark.parametrize("bytes_allowed", [2 * 32 * 64 * 3 - 1, 2 * 32 * 64 * 4 - 1])
def test_golden_arrays_have_a_limit_each_and_together(
    make_bundle: Any, monkeypatch: pytest.MonkeyPatch, bytes_allowed: int
) -> None:
    monkeypatch.setattr("edgeseg.bundle.golden.MAX_GOLDEN_BYTES", bytes_allowed)
    with pytest.raises(GoldenMismatchError, match="larger than"):
        Bundle.open(make_bundle(golden=_golden(_FRAMES, _MASKS))).golden()


def test_golden_frames_and_masks(bundle: Path) -> None:
    golden = Bundle.open(bundle).golden()
    assert golden.frames.shape == (2, 32, 64, 3)
    np.testing.assert_array_equal(golden.masks["model.onnx"], golden.frames.argmax(-1))


def test_hash_errors_are_their_own_kind(bundle: Path) -> None:
    data = bytearray((bundle / "model.onnx").read_bytes())
    data[20] ^= 1
    (bundle / "model.onnx").write_bytes(data)
    with pytest.raises(MemberHashError):
        Bundle.open(bundle)
