"""``edgeseg compare`` as a person uses it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgeseg.cli import compare, main
from edgeseg.training.comparison.outcome import Outcome
from edgeseg.training.comparison.plan import Comparison

TINY = ["--epochs", "8", "--size", "16x16", "--batch", "4", "--set", "model_options.channels=4",
        "--set", "precision=float32", "--set", "workers=0", "--set", "learning_rate=0.01"]  # fmt: skip


def run_main(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["edgeseg", *arguments])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.heavy
@pytest.mark.large  # `train` shows how a run is interrupted, test_compare.py how a comparison goes on
def test_ctrl_c_names_the_command_that_continues_and_it_does(bands: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgeseg", "compare", "losses", "--data", bands, "--losses", "dice,iou",
               "--seeds", "1", *TINY, "--out", "out"]  # fmt: skip
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("Epoch 1/8") and "Run 2 of 2: iou-seed1\n" in lines:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "Continue with: edgeseg compare losses --data" in rest
    assert "dice | 1 of 1" in (tmp_path / "out/comparison.md").read_text(encoding="utf-8")

    done = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "dice-seed1" not in done.stderr.partition("Written:")[0], "it is not trained again"
    assert "Continuing after epoch" in done.stderr
    assert {row["loss"]: row["runs"] for row in json.loads(done.stdout)["rows"]} == {"dice": 1, "iou": 1}
    assert done.stderr.splitlines()[-2] == "Written: out"
    assert done.stderr.splitlines()[-1].startswith("Next:    edgeseg export out/runs/")
    assert "retracing" not in done.stderr


def test_the_default_is_the_source_notebooks_losses_and_three_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plans: list[Comparison] = []

    def keep(comparison: Comparison, *_: object) -> list[Outcome]:
        plans.append(comparison)
        return [Outcome(run, 0, 0.0, 0.0, failure="loss: it is not finite") for run in comparison.runs]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare, "_train", keep)
    variant = ["--variant", "focal:loss_options.gamma=3", "--variant", "slow:learning_rate=1e-4"]
    arguments = ["compare", "losses", "--data", "synthetic", "--seeds", "4, 5", *variant]
    assert run_main(arguments, monkeypatch) == 1, "no run has a score"
    (plan,) = plans
    losses = ["dice", "iou", "tversky", "focal_tversky", "total", "cross_entropy", "lovasz_softmax", "focal"]
    assert list(plan.variants) == [*losses, "slow"]
    assert [run.recipe.loss for run in plan.runs[:8]] == losses
    assert plan.runs[7].recipe.loss_options == {"gamma": 3}
    assert plan.seeds == (4, 5)
    assert plan.out == Path("runs/compare/losses-synthetic")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["losses"], "--data: expected a dataset"),
        (["losses", "--data", "synthetic", "--losses", "dize"], "focal_tversky"),
        (["losses", "--data", "synthetic", "--losses", "dice,dice"], "each of them once"),
        (["losses", "--data", "synthetic", "--seeds", "1,x"], "--seeds: expected whole numbers"),
        (["losses", "--data", "synthetic", "--set", "loss=dice"], "--losses and --seeds"),
        (["losses", "--data", "synthetic", "--set", "seed=3"], "fields that all runs share"),
        (["losses", "--data", "synthetic", "--variant", "dice"], "NAME:KEY=VALUE"),
        (["losses", "--data", "synthetic", "--recipe", "none.yaml"], "none.yaml"),
        (["models", "--data", "synthetic", "--models", "unet_maxi"], "unet_mini_source"),
        (["models", "--data", "synthetic", "--models", ""], "--models: expected one or more"),
    ],
)
def test_bad_arguments(
    arguments: list[str], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run_main(["compare", *arguments], monkeypatch) == 2
    assert message in capfd.readouterr().err
    assert not list(tmp_path.iterdir())
