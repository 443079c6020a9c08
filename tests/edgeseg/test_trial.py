"""A model file that breaks its runtime's parser is an error, and not the end of the process."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeseg
from edgeseg.bundle import Bundle
from edgeseg.errors import BundleError, InferenceError, TrialCrashedError, TrialLimitError, UnsafeModelError
from edgeseg.runtimes import RUNTIMES
from edgeseg.runtimes.trial import Limits, limits_for, try_model
from faulty_runtimes import FaultyRuntime, NeedsOtherMembers
from process_figures import children

LIMITS = Limits(seconds=60, cpu_seconds=30, memory=512 << 20)


def attempt(bundle: Path, fault: str, limits: Limits = LIMITS) -> None:
    opened = Bundle.open(bundle)
    try_model(FaultyRuntime(fault), opened, opened.manifest.models[0], 1, limits)


@pytest.mark.parametrize(
    ("fault", "said"),
    [("segfaults", "SIGSEGV"), ("aborts", "SIGABRT"), ("exits", "exit status 3"), ("is_killed", "SIGKILL")],
)
def test_a_crash_says_the_signal(bundle: Path, fault: str, said: str) -> None:
    with pytest.raises(TrialCrashedError, match=rf"model\.onnx.*{said}") as caught:
        attempt(bundle, fault)
    assert caught.value.exit_code == 8


def test_a_hang_says_the_time_and_leaves_no_process(bundle: Path) -> None:
    with subprocess.Popen(["sleep", "0"]) as child:
        assert child.pid in children(os.getpid()), "a child would not be seen, so this would prove nothing"
    before = children(os.getpid())
    started = time.monotonic()
    with pytest.raises(TrialLimitError, match="within 2 s"):
        attempt(bundle, "sleeps", replace(LIMITS, seconds=2))
    assert time.monotonic() - started < 30
    assert children(os.getpid()) <= before


def test_endless_computing_says_the_cpu_time(bundle: Path) -> None:
    with pytest.raises(TrialLimitError, match="2 s of CPU time"):
        attempt(bundle, "spins", replace(LIMITS, cpu_seconds=2))


def test_endless_memory_says_the_limit(bundle: Path) -> None:
    with pytest.raises(TrialLimitError, match="within 512 MiB"):
        attempt(bundle, "allocates")


def test_an_exception_of_any_kind_is_told(bundle: Path) -> None:
    with pytest.raises(BundleError, match="ZeroDivisionError: odd"):
        attempt(bundle, "raises")


def test_what_the_runtime_prints_is_not_taken_for_its_answer(bundle: Path) -> None:
    attempt(bundle, "prints")


def test_the_runtime_has_the_other_members_too(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    try_model(NeedsOtherMembers(""), opened, opened.manifest.models[0], 1, LIMITS)


def test_an_answer_that_is_none(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a process says that was taken over."""
    answers: list[bytes] = []

    def run(_job: Any, answer: Any, _seconds: float) -> int:
        answer.write(answers.pop())
        return 0

    monkeypatch.setattr("edgeseg.runtimes.trial._run", run)
    for said in (b"", b"{", b"[]", b'"kind"', b'{"kind": 1}', b"[" * 60_000, b"\xff"):
        answers.append(said)
        with pytest.raises(TrialCrashedError):
            attempt(bundle, "prints")
    for kind in ("SystemExit", "annotations", "nonsense"):
        answers.append(f'{{"kind": "{kind}", "found": "x"}}'.encode())
        with pytest.raises(BundleError, match="found x"):
            attempt(bundle, "prints")


def test_the_parents_limits_are_as_before(bundle: Path) -> None:
    import resource

    kinds = (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_CORE)
    before = [resource.getrlimit(kind) for kind in kinds]
    attempt(bundle, "prints")
    assert [resource.getrlimit(kind) for kind in kinds] == before


@pytest.mark.parametrize("runtime", ["onnx", "litert"])
def test_a_good_bundle_passes_and_a_bad_one_says_what_it_says_without(
    make_bundle: Any, make_onnx: Any, make_tflite: Any, runtime: str, frame: np.ndarray
) -> None:
    if runtime == "onnx":
        good, bad, unsafe = make_onnx(32, 64), b"no model", make_onnx(32, 64, domain="evil.ops")
        file = "model.onnx"
    else:
        good, bad, unsafe = make_tflite(32, 64), b"no model", make_tflite(32, 64, custom="Evil")
        file = "model.tflite"
    with edgeseg.load(make_bundle("good", file=file, model=good), isolate=True) as segmenter:
        assert segmenter(frame).mask.shape == frame.shape[:2]
    for name, model, kind in (("bad", bad, BundleError), ("unsafe", unsafe, UnsafeModelError)):
        bundle, said = make_bundle(name, file=file, model=model), []
        for isolate in (False, True):
            with pytest.raises(kind) as caught:
                edgeseg.load(bundle, isolate=isolate)
            said.append((type(caught.value), str(caught.value)))
        assert said[0] == said[1]


def test_a_crash_on_loading_is_an_error_of_load(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, "onnx", FaultyRuntime("segfaults"))
    with pytest.raises(TrialCrashedError, match="SIGSEGV"):
        edgeseg.load(bundle, isolate=True)


def test_limits_grow_with_the_model_and_have_an_end(make_bundle: Any) -> None:
    small = Bundle.open(make_bundle("small"))
    model = small.manifest.models[0]
    large = replace(small, members={model.file: bytes(1 << 20)})
    cases = ((small, 1), (large, 1), (small, 4))
    known = [limits_for(RUNTIMES["onnx"], bundle, model, n).memory or 0 for bundle, n in cases]
    assert known[0] < known[1] < known[2]
    huge = limits_for(RUNTIMES["onnx"], small, model, 1 << 20).memory
    assert huge == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_model_that_loads_and_fails_on_a_frame(bundle: Path) -> None:
    with pytest.raises(InferenceError, match="odd frame"):
        attempt(bundle, "fails_on_a_frame")
