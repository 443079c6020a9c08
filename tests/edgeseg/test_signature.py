"""Who vouches for a bundle: keys, signing, and what happens where a signature is required."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import edgeseg
from edgeseg.bundle import Bundle
from edgeseg.bundle.canonical import to_canonical_json
from edgeseg.bundle.keys import load_private_key, load_public_key, write_key_pair
from edgeseg.bundle.signing import sign_bundle
from edgeseg.errors import (
    BundleError,
    KeyFileError,
    ManifestError,
    MemberHashError,
    MissingExtraError,
    SignatureMalformedError,
    SignatureMismatchError,
    SignatureMissingError,
    UntrustedKeyError,
    UsageError,
)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path, str]:
    """Private key, public key, fingerprint."""
    return write_key_pair(tmp_path / "keys" / "fleet")


@pytest.fixture
def signed(bundle: Path, pair: tuple[Path, Path, str]) -> Path:
    sign_bundle(bundle, pair[0])
    return bundle


def cli(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeseg", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


# Signing


def test_signed_and_checked(signed: Path, pair: tuple[Path, Path, str], frame: Any) -> None:
    _, public, fingerprint = pair
    assert str(Bundle.open(signed, [public]).signature) == f"signed by {fingerprint}"
    assert str(Bundle.open(signed).signature) == "signed, not checked"
    with edgeseg.load(signed, trusted_keys=[public]) as segmenter:
        assert segmenter(frame).mask.shape == frame.shape[:2]


def test_unsigned_bundles_run_where_nothing_is_required(bundle: Path) -> None:
    assert str(Bundle.open(bundle).signature) == "unsigned"


def test_one_of_several_trusted_keys_is_enough(
    signed: Path, pair: tuple[Path, Path, str], tmp_path: Path
) -> None:
    _, other, _ = write_key_pair(tmp_path / "other")
    assert Bundle.open(signed, [other, pair[1]]).signature.checked


def test_openssl_agrees(signed: Path, pair: tuple[Path, Path, str], tmp_path: Path) -> None:
    """Signature, key file and fingerprint, by another implementation."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    values = json.loads((signed / "signature.json").read_text())
    (tmp_path / "raw").write_bytes(bytes.fromhex(values["signature"]))
    verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", pair[1], "-rawin"]
    command = [*verify, "-in", signed / "manifest.json", "-sigfile", tmp_path / "raw"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", pair[1], "-outform", "DER"], capture_output=True, check=True
    )
    assert hashlib.sha256(der.stdout).hexdigest() == values["key"] == pair[2]


def test_signing_again_replaces(signed: Path, tmp_path: Path) -> None:
    private, public, _ = write_key_pair(tmp_path / "next")
    before = (signed / "signature.json").read_bytes()
    sign_bundle(signed, private)
    assert (signed / "signature.json").read_bytes() != before
    assert Bundle.open(signed, [public]).signature.checked
    assert len(list(signed.iterdir())) == 5


def test_signing_through_a_link(bundle: Path, pair: tuple[Path, Path, str], tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(bundle)
    sign_bundle(tmp_path / "current", pair[0])
    assert Bundle.open(bundle, [pair[1]]).signature.checked


def test_a_signing_that_is_interrupted_leaves_the_bundle_whole(
    signed: Path, pair: tuple[Path, Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, _, _ = write_key_pair(tmp_path / "next")

    def full_disk(*_: object) -> None:
        assert len(list(signed.iterdir())) == 5
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edgeseg.atomic.os.fsync", full_disk)
    with pytest.raises(UsageError, match="No space left"):
        sign_bundle(signed, private)
    assert Bundle.open(signed, [pair[1]]).signature.checked
    assert not list(tmp_path.glob(".*part*"))


def test_a_damaged_bundle_is_not_signed(bundle: Path, pair: tuple[Path, Path, str]) -> None:
    (bundle / "report.json").write_bytes(b"{}x")
    with pytest.raises(MemberHashError):
        sign_bundle(bundle, pair[0])
    assert not (bundle / "signature.json").exists()


# Refusing


def test_a_missing_signature(bundle: Path, pair: tuple[Path, Path, str]) -> None:
    with pytest.raises(SignatureMissingError, match=f"{pair[2]}, found none"):
        Bundle.open(bundle, [pair[1]])


def test_a_key_that_is_not_trusted(signed: Path, pair: tuple[Path, Path, str], tmp_path: Path) -> None:
    _, other, fingerprint = write_key_pair(tmp_path / "other")
    with pytest.raises(UntrustedKeyError, match=f"{fingerprint}, found one by {pair[2]}"):
        Bundle.open(signed, [other])


def test_a_stranger_who_names_the_trusted_key(
    bundle: Path, pair: tuple[Path, Path, str], tmp_path: Path
) -> None:
    sign_bundle(bundle, write_key_pair(tmp_path / "stranger")[0])
    values = json.loads((bundle / "signature.json").read_text())
    (bundle / "signature.json").write_bytes(to_canonical_json({**values, "key": pair[2]}))
    with pytest.raises(SignatureMismatchError, match="forged"):
        Bundle.open(bundle, [pair[1]])


def test_another_bundles_signature(make_bundle: Any, pair: tuple[Path, Path, str]) -> None:
    one, two = make_bundle("one"), make_bundle("two")
    sign_bundle(one, pair[0])
    shutil.copy(one / "signature.json", two)
    with pytest.raises(SignatureMismatchError):
        Bundle.open(two, [pair[1]])


def test_the_signature_comes_before_everything_else(signed: Path, pair: tuple[Path, Path, str]) -> None:
    """A manifest that is no manifest, and another file: what was not signed is not even parsed."""
    (signed / "manifest.json").write_bytes(b"{")
    (signed / "extra").write_bytes(b"")
    with pytest.raises(SignatureMismatchError):
        Bundle.open(signed, [pair[1]])
    with pytest.raises(ManifestError):
        Bundle.open(signed)


def test_every_changed_byte_of_the_signature_and_the_manifest(
    signed: Path, pair: tuple[Path, Path, str]
) -> None:
    key = [pair[1]]
    for member in ("signature.json", "manifest.json"):
        data = (signed / member).read_bytes()
        for place in range(0, len(data), 1 if member == "signature.json" else 11):
            changed = bytearray(data)
            changed[place] ^= 1
            (signed / member).write_bytes(changed)
            with pytest.raises(BundleError, match=r"signature\.json"):
                Bundle.open(signed, key)
        (signed / member).write_bytes(data)
    assert Bundle.open(signed, key).signature.checked


def test_a_member_that_was_changed_after_signing(signed: Path, pair: tuple[Path, Path, str]) -> None:
    data = bytearray((signed / "model.onnx").read_bytes())
    data[30] ^= 1
    (signed / "model.onnx").write_bytes(data)
    with pytest.raises(MemberHashError):
        Bundle.open(signed, [pair[1]])


@pytest.mark.parametrize(
    "changes",
    [
        {"schema_version": 2},
        {"algorithm": "none"},
        {"key": "00"},
        {"signature": "00" * 63},
        {"signature": "AB" * 64},
        {"signature": None},
        {"more": 1},
    ],
)
def test_a_malformed_signature_is_refused_even_where_none_is_required(
    signed: Path, pair: tuple[Path, Path, str], changes: dict[str, Any]
) -> None:
    values = json.loads((signed / "signature.json").read_text())
    (signed / "signature.json").write_bytes(to_canonical_json({**values, **changes}))
    for keys in (None, [pair[1]]):
        with pytest.raises(SignatureMalformedError, match=next(iter(changes))):
            Bundle.open(signed, keys)


def test_keys_must_be_given_with_the_path(signed: Path, pair: tuple[Path, Path, str]) -> None:
    with pytest.raises(UsageError, match="open already"):
        edgeseg.load(Bundle.open(signed), trusted_keys=[pair[1]])
    with pytest.raises(UsageError, match="empty list"):
        edgeseg.load(signed, trusted_keys=[])


# Keys


def test_a_key_pair_is_kept_from_others_and_never_overwritten(
    pair: tuple[Path, Path, str], tmp_path: Path
) -> None:
    private, public, fingerprint = pair
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert load_public_key(public).fingerprint == fingerprint
    assert load_private_key(private).public.fingerprint == fingerprint
    before = private.read_bytes()
    with pytest.raises(KeyFileError, match=r"fleet\.pem.*a new file"):
        write_key_pair(tmp_path / "keys" / "fleet")
    private.unlink()
    with pytest.raises(KeyFileError, match=r"fleet\.pub\.pem.*a new file"):
        write_key_pair(tmp_path / "keys" / "fleet")
    assert not private.exists()
    assert before.startswith(b"-----BEGIN PRIVATE KEY-----")


def _rsa(*, public: bool = False, password: bytes | None = None, kind: str = "rsa") -> bytes:
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ed25519.Ed25519PrivateKey.generate()
    if public:
        return key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    how = s.BestAvailableEncryption(password) if password else s.NoEncryption()
    return key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, how)


@pytest.mark.parametrize("half", ["public", "private"])
def test_files_that_are_no_such_key(tmp_path: Path, pair: tuple[Path, Path, str], half: str) -> None:
    read = load_public_key if half == "public" else load_private_key
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    cases = {
        tmp_path / "nothing": "No such file",
        tmp_path / "folder": "no file",
        tmp_path / "pipe": "no file",
        _written(tmp_path / "text", b"hello"): "no such key",
        _written(tmp_path / "empty", b""): "no such key",
        _written(tmp_path / "rsa", _rsa(public=half == "public")): "another kind of key \\(.*RSA",
        pair[1] if half == "private" else pair[0]: "a public key" if half == "private" else "a private key",
    }
    if half == "private":
        cases[_written(tmp_path / "locked", _rsa(kind="ed25519", password=b"x"))] = "an encrypted key"
    for path, found in cases.items():
        with pytest.raises(KeyFileError, match=f"an Ed25519 {half} key, as a PEM file, found .*{found}"):
            read(path)


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_without_the_extra(bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    for act in (
        lambda: Bundle.open(bundle, [tmp_path / "key"]),
        lambda: sign_bundle(bundle, tmp_path / "key"),
        lambda: write_key_pair(tmp_path / "key"),
    ):
        with pytest.raises(MissingExtraError, match=r"edgeseg\[sign\]"):
            act()
    Bundle.open(bundle)


# Commands


@pytest.mark.heavy
def test_the_commands(bundle: Path, video: Path, tmp_path: Path) -> None:
    key, public = tmp_path / "key.pem", tmp_path / "key.pub.pem"
    assert cli("keygen", tmp_path / "key").returncode == 0
    required = ("--require-signature", public)
    refused = cli("run", bundle, "--source", video, *required)
    assert refused.returncode == 8, refused.stderr
    assert "signature.json" in refused.stderr
    for word in ("unsigned", "signed by"):
        more = required if word == "signed by" else ()
        ran = cli("run", bundle, "--source", video, "--every-frame", "--json", *more)
        assert ran.returncode == 0, ran.stderr
        assert json.loads(ran.stdout)["signature"].startswith(word)
        done = cli("sign", bundle, "--key", key)
        assert done.returncode == 0, done.stderr
    predicted = cli("predict", bundle, video, "--out", tmp_path / "out", *required)
    assert predicted.returncode == 0, predicted.stderr
    wrong = cli("predict", bundle, video, "--require-signature", key)
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr
