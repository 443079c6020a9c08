"""What is done to a bundle on purpose: each attack is refused with an error of its own."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeseg
from edgeseg.bundle import Bundle, Manifest, reader
from edgeseg.bundle.canonical import from_canonical_json, to_canonical_json
from edgeseg.bundle.manifest import _digest
from edgeseg.bundle.members import MAX_FILES
from edgeseg.errors import (
    BundleError,
    GoldenMismatchError,
    ManifestError,
    MemberCountError,
    MemberHashError,
    MemberKindError,
    MemberLinkError,
    MemberNameError,
    MemberSizeError,
    MemberUnexpectedError,
)

MEMBERS = ("manifest.json", "model.onnx", "golden.npz", "report.json", "signature.json")


@pytest.fixture
def signed(bundle: Path) -> Path:
    """A bundle with a signature in the right form; that it is of no key, nobody asks here."""
    values = {"schema_version": 1, "algorithm": "ed25519", "key": "0" * 64, "signature": "0" * 128}
    (bundle / "signature.json").write_bytes(to_canonical_json(values))
    Bundle.open(bundle)
    return bundle


def values_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_bytes())


def rewrite(folder: Path, values: dict[str, Any]) -> None:
    """With the right digest: whoever attacks can compute it as well."""
    whole = {**values, "digest": _digest(values)}
    (folder / "manifest.json").write_bytes(to_canonical_json(whole))


def add_member(folder: Path, name: str, data: bytes = b"") -> None:
    values = values_of(folder)
    entry = {"file": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    rewrite(folder, {**values, "members": [*values["members"], entry]})


# Damage


@pytest.mark.parametrize("member", MEMBERS)
def test_cut_anywhere(signed: Path, member: str) -> None:
    data = (signed / member).read_bytes()
    places = range(len(data)) if len(data) < 400 else [int(p) for p in np.linspace(0, len(data) - 1, 200)]
    for place in places:
        (signed / member).write_bytes(data[:place])
        with pytest.raises(BundleError, match=member):
            Bundle.open(signed)


@pytest.mark.parametrize("member", MEMBERS[:-1])
def test_any_changed_byte(signed: Path, member: str) -> None:
    data = (signed / member).read_bytes()
    draw = np.random.default_rng(0)
    for place in draw.integers(0, len(data), 300):
        changed = bytearray(data)
        changed[place] ^= int(draw.integers(1, 256))
        (signed / member).write_bytes(changed)
        with pytest.raises((MemberHashError, ManifestError), match=member):
            Bundle.open(signed)


# Names


@pytest.mark.parametrize(
    "name",
    [
        "../model.onnx", "/etc/passwd", "a/b", "..", ".", "", "a\\b", "C:\\model", "a\0b", "a\nb", "\x1b[2Jb",
        "a b", "modèle.onnx", "ﬁle", ".hidden", "-rf", "a.", "con", "NUL.txt", "com1", "a" * 101, "a\u202eb",
    ],
)  # fmt: skip
def test_names_that_mean_more_than_a_file(bundle: Path, name: str) -> None:
    add_member(bundle, name)
    with pytest.raises(MemberNameError, match="plain file names") as caught:
        Bundle.open(bundle)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["manifest.json", "Manifest.JSON", "signature.json"])
def test_names_that_edgeseg_itself_uses(bundle: Path, name: str) -> None:
    add_member(bundle, name)
    with pytest.raises(MemberNameError, match=r"other members than manifest\.json, signature\.json"):
        Bundle.open(bundle)


def test_names_that_differ_in_case_alone(bundle: Path) -> None:
    add_member(bundle, "Model.ONNX", b"x")
    (bundle / "Model.ONNX").write_bytes(b"x")
    with pytest.raises(MemberNameError, match=r"upper and lower case.*model\.onnx, Model\.ONNX"):
        Bundle.open(bundle)


def test_a_file_that_differs_in_case_from_a_member(bundle: Path) -> None:
    (bundle / "Model.onnx").write_bytes(b"")
    with pytest.raises(MemberUnexpectedError, match=r"Model\.onnx"):
        Bundle.open(bundle)


def test_a_name_that_would_write_to_the_terminal(bundle: Path) -> None:
    (bundle / "\x1b]0;owned\x07").write_bytes(b"")
    with pytest.raises(MemberUnexpectedError) as caught:
        Bundle.open(bundle)
    assert str(caught.value).isprintable()


def test_a_name_that_is_no_unicode(bundle: Path) -> None:
    Path(os.fsdecode(os.fsencode(bundle) + b"/\xff\xfe")).write_bytes(b"")
    with pytest.raises(MemberUnexpectedError) as caught:
        Bundle.open(bundle)
    str(caught.value).encode()


# Kinds of files


@pytest.mark.parametrize("member", MEMBERS)
def test_a_symbolic_link(signed: Path, tmp_path: Path, member: str) -> None:
    (signed / member).rename(tmp_path / member)
    (signed / member).symlink_to(tmp_path / member)
    with pytest.raises(MemberLinkError, match=f"{member}.*a symbolic link.*cp -L"):
        Bundle.open(signed)


@pytest.mark.parametrize("member", MEMBERS)
def test_a_hard_link(signed: Path, tmp_path: Path, member: str) -> None:
    (tmp_path / "other").hardlink_to(signed / member)
    with pytest.raises(MemberLinkError, match=f"{member}.*2 names.*--no-preserve=links"):
        Bundle.open(signed)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        # The longest path of a socket is short.
        before = Path.cwd()
        os.chdir(path.parent)
        try:
            made.bind(path.name)
        finally:
            os.chdir(before)


def _device(path: Path) -> None:
    try:
        os.mknod(path, 0o20666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes devices")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize(
    ("make", "kind"),
    [(Path.mkdir, "folder"), (os.mkfifo, "pipe"), (_socket, "socket"), (_device, "device")],
)
def test_what_is_no_file(signed: Path, member: str, make: Callable[[Path], None], kind: str) -> None:
    (signed / member).unlink()
    make(signed / member)
    with pytest.raises(MemberKindError, match=f"{member}.*a regular file.*{kind}"):
        Bundle.open(signed)


def test_a_link_that_takes_the_place_of_a_file_while_it_is_opened(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_bytes((bundle / "model.onnx").read_bytes())
    look = os.lstat

    def lstat(path: Path) -> os.stat_result:
        status = look(path)
        if Path(path).name == "model.onnx":
            Path(path).unlink()
            Path(path).symlink_to(tmp_path / "secret")
        return status

    monkeypatch.setattr("edgeseg.bundle.members.os.lstat", lstat)
    with pytest.raises(MemberUnexpectedError, match=r"model\.onnx"):
        Bundle.open(bundle)


def test_a_folder_of_very_many_files_is_not_listed_whole(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = []

    class Endless:
        def __enter__(self) -> Endless:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def __iter__(self) -> Endless:
            return self

        def __next__(self) -> Any:
            listed.append(None)
            return type("Entry", (), {"name": f"file-{len(listed)}"})

    monkeypatch.setattr("edgeseg.bundle.members.os.scandir", lambda _: Endless())
    with pytest.raises(MemberCountError, match=f"at most {MAX_FILES} files"):
        Bundle.open(bundle)
    assert len(listed) <= MAX_FILES + 1


def test_a_member_of_the_wrong_size_is_not_read(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for member, size in (("model.onnx", 1 << 40), ("signature.json", 4097), ("manifest.json", (1 << 20) + 1)):
        path = bundle / member
        before = path.read_bytes() if path.exists() else None
        with path.open("ab") as file:
            file.truncate(size)  # sparse: no disk is used
        with pytest.raises(MemberSizeError, match=f"{member}.*{size} bytes"):
            Bundle.open(bundle)
        path.unlink() if before is None else path.write_bytes(before)


# Between check and use


def test_what_was_hashed_is_what_is_loaded(bundle: Path, frame: np.ndarray) -> None:
    opened = Bundle.open(bundle)
    for member in ("model.onnx", "golden.npz"):
        (bundle / member).write_bytes(b"swapped")
    image = frame[:32, :64]
    with edgeseg.load(opened) as segmenter:
        np.testing.assert_array_equal(segmenter.predict(image), image.argmax(-1))


def test_a_link_to_the_bundle_that_is_turned_while_it_is_read(
    make_bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = make_bundle("one"), make_bundle("two", precision="fp16")
    link = tmp_path / "current"
    link.symlink_to(one)
    read = reader.read_file

    def turn_and_read(path: Path, *arguments: Any) -> bytes:
        link.unlink()
        link.symlink_to(two)
        return read(path, *arguments)

    monkeypatch.setattr(reader, "read_file", turn_and_read)
    assert Bundle.open(link).manifest.name == "one"


def test_wrong_weights_under_the_right_hash(make_bundle: Any, make_onnx: Any) -> None:
    """Whoever replaces the model and all hashes still does not give the masks of the export."""
    honest = make_onnx(32, 64)
    weights = np.eye(3, dtype=np.float32)
    wrong = honest.replace(weights.tobytes(), weights[::-1].tobytes())
    assert wrong != honest
    folder = make_bundle(model=wrong)
    Bundle.open(folder)
    with pytest.raises(GoldenMismatchError, match=r"model\.onnx"):
        edgeseg.load(folder)


# JSON


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 1}', "'a' twice"),
        ('{"a": {"b": 1, "b": 2}}', "'b' twice"),
        ('{"a": NaN}', "NaN, which is not finite"),
        ('{"a": -Infinity}', "not finite"),
        ('{"a": 1e400}', "1e400, which is not finite"),
        ('{"a": ' + "9" * 100_000 + "}", "a number of 100000 digits"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deep"),
        ('{"a": ' + '{"a": ' * 50_000 + "1" + "}" * 50_001, "nested too deep"),
        ('{\n  "a": "\\ud800"\n}\n', "surrogates"),
        ('{"a": [' + "0, " * 20_000 + "0]}", "more than 20000 values"),
        ('{"a": 1}', "not written as"),
        ("[1]", "not a JSON object"),
        ("1", "not a JSON object"),
        ("", "Expecting value"),
        ('{"a": 1', "Expecting"),
    ],
)
def test_json_that_is_made_to_harm(text: str, said: str) -> None:
    with pytest.raises(ManifestError, match=said) as caught:
        Manifest.from_bytes(text.encode())
    assert len(str(caught.value)) < 1000


def test_json_in_another_encoding() -> None:
    with pytest.raises(ManifestError):
        Manifest.from_bytes('{"schema_version": 1}'.encode("utf-16"))


def test_canonical_json_is_read_as_it_was_written() -> None:
    values = {"ö": [1, -2, 0.5, None, True, {"b": "\x00 \u2028 😀"}], "a": 9223372036854775807}
    assert from_canonical_json(to_canonical_json(values)) == values


@pytest.mark.parametrize("value", [None, True, -1, 0.5, 1e308, 9**18, "", "x", [], [[]], {}, {"a": {}}])
def test_a_value_of_the_wrong_type_anywhere(bundle: Path, value: Any) -> None:
    """Each field of the manifest in turn: a typed error, or it is of the type that was there."""
    total = 0
    whole = values_of(bundle)
    # Rewriting makes the digest anew.
    for path in set(_paths(whole)) - {("digest",)}:
        values = json.loads(json.dumps(whole))
        inside = values
        for step in path[:-1]:
            inside = inside[step]
        before, inside[path[-1]] = inside[path[-1]], value
        rewrite(bundle, values)
        total += 1
        try:
            Bundle.open(bundle)
        except BundleError:
            continue
        assert _may_stand_for(value, before, path), f"{path}: {before!r} became {value!r}"
    assert total > 80


def _may_stand_for(value: Any, before: Any, path: tuple[Any, ...]) -> bool:
    """Of JSON's types: a whole number is one with a fraction of 0. A class that is absent has no drop, and
    what has null may have a value; which one, this bundle cannot tell."""
    if before is None:
        return True
    if value is None:
        return path[-2:-1] == ("class_drop_points",)
    return type(value) is type(before) or (type(before) is float and type(value) is int)


def _paths(value: Any, start: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, inside in items for path in ((*start, key), *_paths(inside, (*start, key)))]


# The golden archive


def archive(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members.items():
            made.writestr(f"{name}.npy", data)
    return file.getvalue()


def array(header: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode("latin1") + data


def _header(shape: str) -> str:
    return f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n"


@pytest.mark.parametrize(
    "header",
    [
        "-" * 9000 + "1",  # by NumPy's own reader: MemoryError
        "~" * 9000 + "1",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (True, 32, 64, 3), }\n",  # TypeError
        "{1: 1, 'a': 2}\n",  # TypeError
        "(" * 5000,
        _header("(" + "9" * 4200 + ", 32, 64, 3)"),
        _header("(-1, 32, 64, 3)"),
        _header("(999999999, 999999999, 64, 3)"),
        _header("()"),
        _header("(" + "1" * 72 + "x"),
        "",
    ],
)
def test_array_headers_that_break_a_parser(make_bundle: Any, header: str) -> None:
    golden = archive(frames=array(header), masks_fp32=array(header))
    with pytest.raises(GoldenMismatchError, match=r"golden\.npz"):
        Bundle.open(make_bundle(golden=golden)).golden()


def test_a_bomb_is_not_unpacked(make_bundle: Any) -> None:
    """256 MiB of zeros behind a header that claims two frames: two frames are read."""
    shape, mask = _header("(2, 32, 64, 3)"), _header("(2, 32, 64)")
    zeros = bytes(256 << 20)
    bundle = make_bundle(golden=archive(frames=array(shape, zeros), masks_fp32=array(mask, bytes(1 << 20))))
    import tracemalloc

    opened = Bundle.open(bundle)
    tracemalloc.start()
    golden = opened.golden()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert golden.frames.nbytes == 2 * 32 * 64 * 3
    assert peak < 4 << 20


def test_an_archive_of_very_many_arrays(make_bundle: Any) -> None:
    golden = archive(**{f"a{i}": b"" for i in range(2000)})
    with pytest.raises(GoldenMismatchError, match="list of arrays is too long"):
        Bundle.open(make_bundle(golden=golden)).golden()


def test_an_array_named_twice(make_bundle: Any) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("frames.npy", b"")
        with pytest.warns(UserWarning, match="Duplicate"):
            made.writestr("frames.npy", b"")
    with pytest.raises(GoldenMismatchError, match="twice"):
        Bundle.open(make_bundle(golden=file.getvalue())).golden()


def test_bytes_after_the_archive(make_bundle: Any) -> None:
    golden = archive(frames=b"") + b"more"
    with pytest.raises(GoldenMismatchError, match="does not end as"):
        Bundle.open(make_bundle(golden=golden)).golden()
