"""What is written of a training's speed."""

from __future__ import annotations

import json
from pathlib import Path

from edgeseg.benchmarks.host import describe_host
from edgeseg.benchmarks.training_speed import TrainingSpeedResult, conclusion, write_training_speed

RESULT = TrainingSpeedResult(
    created="now",
    command="edgeseg benchmark-training",
    host=describe_host(),
    settings={"model": "unet_mini", "batch": 8, "data": "loaded"},
    seconds={
        "network": (0.4, 0.4),
        "step": (0.5, 0.5),
        "loop": (0.6, 0.5),
        "data": (0.01, 0.03),
    },
    medians={"network": 0.4, "step": 0.5, "loop": 0.55, "data": 0.02},
    loss_share=0.2,
    loop_share=0.1,
)


def test_the_result_is_written(tmp_path: Path) -> None:
    write_training_speed(RESULT, tmp_path / "speed")
    written = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    assert written["parts"]["step"]["images_per_second"] == 16.0
    assert written["parts"]["data"]["rounds_ms"] == [10.0, 30.0]
    assert (written["loss_and_metric_share"], written["loop_over_step"]) == (0.2, 0.1)
    text = (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert "| network: forward and backward pass, update; batch on the device | 20.0 | 400.00 |" in text
    assert "model unet_mini, batch 8, data loaded." in text


def test_the_shares_in_words() -> None:
    assert conclusion(RESULT) == (
        "Loss and metric are 20.0 % of a step; a step of the whole loop takes +10.0 % over one on a resident "
        "batch."
    )
