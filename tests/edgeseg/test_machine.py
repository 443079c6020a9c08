"""What machine it is, read from trees of files as those machines have them, and what it lacks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeseg.runtimes.machine import Machine, read_machine
from edgeseg.runtimes.readiness import Finding, Installed, describe, findings

JETPACK_6 = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan 8\n"
JETPACK_5 = "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64, DATE: Tue Aug 1\n"
ORIN = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def place(root: Path, path: str, text: str = "") -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def jetson(root: Path, release: str = JETPACK_6) -> Machine:
    place(root, "etc/nv_tegra_release", release)
    place(root, "dev/nvmap")
    place(root, "proc/device-tree/model", ORIN)
    return read_machine(root, "aarch64")


def test_a_jetson(root: Path) -> None:
    machine = jetson(root)
    assert machine == Machine("jetson", ORIN.strip("\0"), "R36.4.3", nvidia_driver=True)
    assert not machine.l4t_is_old
    assert describe(machine).endswith("Super, Jetson Linux R36.4.3")


def test_a_container_on_a_jetson_knows_its_board_but_no_release(root: Path) -> None:
    place(root, "proc/device-tree/model", ORIN)
    machine = read_machine(root, "aarch64")
    assert (machine.kind, machine.l4t, machine.l4t_is_old) == ("jetson", "", False)


@pytest.mark.parametrize(
    ("release", "l4t", "old"),
    [
        (JETPACK_5, "R35.4.1", True),
        ("# R36 (release), REVISION: 3.0, GCID: 1", "R36.3.0", True),
        ("# R36 (release), REVISION: 4.0, GCID: 1", "R36.4.0", False),
        ("# R38 (release), REVISION: 2.0, GCID: 1", "R38.2.0", False),
    ],
)
def test_releases_before_jetpack_6_1_are_too_old(root: Path, release: str, l4t: str, old: bool) -> None:
    machine = jetson(root, release)
    assert (machine.l4t, machine.l4t_is_old) == (l4t, old)


@pytest.mark.parametrize(
    ("architecture", "kind"), [("x86_64", "x86"), ("AMD64", "x86"), ("aarch64", "arm"), ("riscv64", "other")]
)
def test_other_machines(root: Path, architecture: str, kind: str) -> None:
    assert read_machine(root, architecture) == Machine(kind, "", "", nvidia_driver=False)  # type: ignore[arg-type]


def test_an_arm_board_has_a_name(root: Path) -> None:
    place(root, "proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    assert describe(read_machine(root, "aarch64")) == "Raspberry Pi 5 Model B Rev 1.0"


def having(**versions: Any) -> Installed:
    """An installation of ``tensorrt``, ``bindings``, ``gpus`` and runtimes as given."""
    return Installed(
        tensorrt=lambda: versions.get("tensorrt"),
        package=lambda name: versions.get("bindings"),
        runtime=versions.get,
        gpus=lambda: versions.get("gpus", 0),
    )


def by_name(found: list[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in found}


def test_a_jetson_that_has_everything(root: Path) -> None:
    here = having(tensorrt="10.3.0", bindings="12.9.2", gpus=1, onnx="1", litert="2", openvino="3")
    found = findings(jetson(root), root, here)
    assert not [finding for finding in found if finding.missing]
    assert {f.what for f in found if f.needed} == {
        "Jetson Linux", "TensorRT for Python", "CUDA bindings", "GPU for CUDA"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("release", "here", "what", "remedy"),
    [
        (JETPACK_5, having(tensorrt="8.5.2"), "Jetson Linux", "flash JetPack 6.1"),
        (JETPACK_6, having(), "TensorRT for Python", "sudo apt-get install python3-libnvinfer"),
        (JETPACK_5, having(), "TensorRT for Python", "flash JetPack 6.1"),
        (JETPACK_6, having(tensorrt="10.3.0"), "CUDA bindings", "pip install 'edgeseg[tensorrt]'"),
        (JETPACK_6, having(bindings="12.9.2"), "GPU for CUDA", "sudo apt-get install nvidia-jetpack"),
        (JETPACK_6, having(bindings="13.0.1"), "GPU for CUDA", "pip install 'cuda-bindings>=12.9,<13'"),
        (JETPACK_6, having(), "runtime onnx", "pip install 'edgeseg[onnx]'"),
    ],
)  # fmt: skip
def test_what_a_jetson_lacks_has_a_command(
    root: Path, release: str, here: Installed, what: str, remedy: str
) -> None:
    finding = by_name(findings(jetson(root, release), root, here))[what]
    assert finding.missing
    assert remedy in finding.remedy


def test_a_pc_without_nvidia_is_asked_for_no_cuda(root: Path) -> None:
    found = by_name(findings(read_machine(root, "x86_64"), root, having(onnx="1.23.0")))
    assert set(found) == {"runtime onnx", "runtime litert", "runtime openvino"}
    assert (found["runtime onnx"].needed, found["runtime onnx"].missing) == (True, False)
    assert (found["runtime litert"].needed, found["runtime litert"].missing) == (False, True)


def test_a_pc_with_nvidia_can_have_tensorrt_and_need_not(root: Path) -> None:
    place(root, "proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65")
    found = by_name(findings(read_machine(root, "x86_64"), root, having()))
    assert found["TensorRT for Python"].remedy == "pip install tensorrt, on a machine with an NVIDIA GPU"
    assert not found["TensorRT for Python"].needed


def test_an_arm_board_needs_litert(root: Path) -> None:
    found = by_name(findings(read_machine(root, "aarch64"), root, having()))
    assert (found["runtime litert"].needed, found["runtime onnx"].needed) == (True, False)


def test_a_camera_that_may_not_be_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(root, "dev/video0")
    machine = read_machine(root, "x86_64")
    assert not by_name(findings(machine, root, having()))["cameras"].missing
    monkeypatch.setattr("edgeseg.runtimes.readiness.os.access", lambda path, mode: False)
    assert "usermod -aG video" in by_name(findings(machine, root, having()))["cameras"].remedy


def test_info_tells(capsys: pytest.CaptureFixture[str]) -> None:
    from edgeseg.cli.info import info

    info(json=True)
    values = json.loads(capsys.readouterr().out)
    assert {"runtime onnx", "runtime litert", "runtime openvino"} <= {
        finding["what"] for finding in values["readiness"]
    }
    assert values["machine"]["kind"]
    assert values["runtimes"]["tensorrt"]["remedy"]
    info(json=False)
    assert "To run bundles here" in capsys.readouterr().out
