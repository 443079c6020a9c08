from __future__ import annotations

import json
import subprocess
import sys

import pytest

from edgeseg.bundle import Bundle


def edgeseg(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeseg", *map(str, arguments)]
    return subprocess.run(command, check=False, timeout=300, capture_output=True, text=True)


@pytest.fixture(scope="module")
def ran(checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("cli")
    export = edgeseg("export", checkpoint, "--target", "arm", "--max-drop", 10, "--out", out, "--json")
    return out / "small-arm-int8.edgeseg", export


def test_it_exports_and_prints_nothing_but_the_manifest_to_stdout(ran) -> None:
    bundle, export = ran
    assert export.returncode == 0, export.stderr
    assert json.loads(export.stdout)["digest"] == Bundle.open(bundle).digest


def test_stderr_holds_progress_and_the_next_command_and_no_converters_chatter(ran, checkpoint) -> None:
    bundle, export = ran
    words = ("Loading the model", "Reading calibration images", "Calibrating LiteRT int8", "Comparing")
    assert all(word in export.stderr for word in words)
    assert f"edgeseg verify {bundle} --against {checkpoint}" in export.stderr
    noise = ("absl", "WARNING", "INFO", "fully_quantize", "port.cc", "delegate", "0/?")
    assert [word for word in noise if word in export.stderr] == []


def test_verify_lists_its_checks_and_a_flipped_byte_exits_8_with_the_members_name(ran) -> None:
    bundle, _ = ran
    verified = edgeseg("verify", bundle, "--json")
    assert verified.returncode == 0, verified.stderr
    assert [c["state"] for c in json.loads(verified.stdout)["checks"]] == ["passed"] * 3 + ["skipped"]
    model = bundle / "model.int8.tflite"
    data = bytearray(model.read_bytes())
    model.write_bytes(bytes([*data[:-1], data[-1] ^ 0x80]))
    try:
        broken = edgeseg("verify", bundle)
    finally:
        model.write_bytes(data)
    assert broken.returncode == 8
    assert "model.int8.tflite" in broken.stderr
    assert "failed" in broken.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["export", "absent.keras"], 2, "absent.keras"),
        (["export", "absent.keras", "--target", "tpu"], 2, "arm, jetson, x86"),
        (["export", "absent.keras", "--precision", "int4"], 2, "fp32 or fp16 or bf16 or int8"),
        (["export", "absent.keras", "--format", "coreml"], 2, "onnx or litert"),
        (["export", "absent.keras", "--output", "boxes"], 2, "mask+confidence"),
        (["verify", "absent.edgeseg"], 8, "absent.edgeseg"),
    ],
)
def test_bad_arguments_give_one_message_and_their_exit_code(arguments, code, message) -> None:
    ran = edgeseg(*arguments)
    assert ran.returncode == code
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr
