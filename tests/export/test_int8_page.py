"""The page of int8 says whose loss its layers were measured by."""

from __future__ import annotations

import html
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgeseg.export.attempts import Attempt, Climb
from edgeseg.export.int8 import Int8Settings
from edgeseg.export.int8_page import write_page
from edgeseg.export.parity import Budget
from edgeseg.export.sensitivity import LayerDamage

DROPS = {"road": 0.1, "tree": 2.5, "pole": 3.0, "bus": None}


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("tree",), "The points of IoU that tree loses against the same model"),
        (("tree", "pole"), "The points of IoU that tree, pole lose in the mean against the same model"),
        # The bus is nowhere: it has no score, and is missed by nobody.
        (
            ("road", "tree", "pole"),
            "The points of IoU that all classes lose in the mean against the same model",
        ),
    ],
)
def test_the_classes_are_named_or_all(classes, said, tmp_path: Path) -> None:
    comparison = SimpleNamespace(
        drop_points=0.4,
        class_drop_points=lambda: DROPS,
        worst_class=("pole", 3.0),
        keras_miou=0.6,
        artifact_miou=0.596,
    )
    tried = SimpleNamespace(comparison=comparison, artifact=SimpleNamespace(size=1_000_000))
    attempt = Attempt("onnx", "plain", Int8Settings(), "as trained", tried, ("over",), 0.0, 1.0)
    climb = Climb(attempt, (attempt,), (LayerDamage("conv;relu", 0.125),), classes)
    calibration = SimpleNamespace(samples=8, split="train", dataset="toy", absent_classes=())
    page = write_page(tmp_path / "toy.edgeseg", {"onnx": climb}, Budget(0.5, 2.0), calibration)
    text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page.read_text())))
    assert said in text
    assert "conv 12.50" in text
    assert climb.to_dict()["sensitivity_of"] == list(classes)
