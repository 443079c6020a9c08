"""The dashboard's sheets as Streamlit draws them, without a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeseg.dashboard.parts import Settings
from toys import CLASSES, write_bundle

AppTest = pytest.importorskip("streamlit.testing.v1").AppTest

SCRIPT = """
from edgeseg.dashboard.page import guarded, show
from edgeseg.dashboard.page_results import show_results
from edgeseg.dashboard.page_runs import show_runs
from edgeseg.dashboard.parts import Settings
settings = Settings.from_json({settings!r})
parts = settings.make_parts()
{call}
"""
LABELS_YAML = "name: channels\nclasses:\n" + "".join(
    f"  - {{name: {name}, color: {list(color)}}}\n" for name, color in CLASSES
)


@pytest.fixture
def data(tmp_path: Path) -> str:
    """``folder:PATH`` of two scenes whose truth is the strongest channel, but for a corner."""
    root = tmp_path / "scenes"
    rng = np.random.default_rng(2)
    for index in range(2):
        mask = rng.integers(0, 3, (4, 8)).astype(np.uint8).repeat(8, axis=0).repeat(8, axis=1)
        image = np.eye(3, dtype=np.uint8)[mask] * 200
        mask[:8, :8] = (mask[0, 0] + 1) % 3
        for kind, picture in (("images", image[..., ::-1]), ("masks", mask)):
            (root / "val" / kind).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / "val" / kind / f"scene{index}.png"), picture)
    (root / "labels.yaml").write_text(LABELS_YAML)
    return f"folder:{root}"


@pytest.fixture
def bundles(tmp_path: Path) -> list[str]:
    """The same toy twice, once with its confidence."""
    plain = write_bundle(tmp_path / "plain.edgeseg")
    sure = write_bundle(tmp_path / "sure.edgeseg", output="mask+confidence")
    return [str(plain), str(sure)]


@pytest.fixture(autouse=True)
def _nothing_is_kept_from_another_test() -> None:
    import streamlit

    streamlit.cache_resource.clear()


def draw(call: str = "show(settings, parts)", **settings: Any) -> Any:
    text = Settings("edgeseg.cli.dashboard_parts:parts", **settings).to_json()
    page = AppTest.from_string(SCRIPT.format(settings=text, call=call), default_timeout=60).run()
    assert not page.exception
    return page


def told(page: Any) -> str:
    """All that the page says, markup and all."""
    kinds = (page.html, page.markdown, page.caption, page.error, page.warning, page.info, page.subheader)
    return "\n".join(str(getattr(e, "value", "") or getattr(e, "body", "")) for kind in kinds for e in kind)


def test_models_side_by_side_with_scores(data: str, bundles: list[str]) -> None:
    page = draw(models=tuple(bundles), data=data)
    text = told(page)
    assert not page.error
    assert not page.warning
    for piece in ("plain", "sure", "Truth", "Errors", "Disagreement", "Confidence", "this model gives none"):
        assert piece in text
    # An eighth of four by eight squares is one of 32, and wrong.
    assert "3.1 % of the labelled pixels" in text
    assert "0.0 % of the pixels" in text, "the two are one model and agree"
    assert len(page.image) == 8


def test_the_next_image_and_one_model_less(data: str, bundles: list[str]) -> None:
    page = draw(models=tuple(bundles), data=data)
    next(b for b in page.sidebar.button if b.label == "Next").click().run()
    assert page.sidebar.selectbox[0].value == "scene1"
    page.sidebar.multiselect[0].set_value(["sure"]).run()
    assert "choose a second model" in told(page)
    assert not page.exception


def test_many_images_are_scored_and_the_most_disputed_can_be_looked_at(data: str, bundles: list[str]) -> None:
    page = draw(models=tuple(bundles), data=data)
    page.number_input[0].set_value(2).run()
    next(b for b in page.button if b.label == "Score them").click().run()
    assert "Of 2 images together" in told(page)
    next(s for s in page.selectbox if s.label == "Look at").set_value("scene1").run()
    next(b for b in page.button if b.label == "Show it above").click().run()
    assert page.sidebar.selectbox[0].value == "scene1"
    assert not page.exception


def test_predictions_are_kept(data: str, bundles: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeseg.dashboard.model import BundleModel

    calls = []
    predict = BundleModel.predict
    monkeypatch.setattr(
        BundleModel, "predict", lambda self, image: calls.append(self.name) or predict(self, image)
    )
    page = draw(models=tuple(bundles), data=data)
    first = len(calls)
    page.sidebar.toggle[0].set_value(True).run()
    assert len(calls) == first
    next(b for b in page.sidebar.button if b.label == "Next").click().run()
    assert len(calls) > first


def test_a_folder_without_labels_has_no_truth_and_no_scores(data: str, bundles: list[str]) -> None:
    folder = Path(data.removeprefix("folder:")) / "val" / "images"
    page = draw(models=tuple(bundles), images=str(folder))
    text = told(page)
    assert "Errors" not in text
    assert "class by class" not in text
    assert "Disagreement" in text


def test_a_model_that_is_not_there_is_one_message_and_the_others_go_on(
    data: str, bundles: list[str], tmp_path: Path
) -> None:
    missing = str(tmp_path / "gone.edgeseg")
    page = draw(models=(missing, bundles[0]), data=data)
    assert len(page.error) == 1
    assert "gone\\.edgeseg\\: expected a bundle" in page.error[0].value
    assert "Traceback" not in page.error[0].value
    assert "This image, class by class" in told(page)


def test_other_classes_are_said_and_not_scored(data: str, bundles: list[str], tmp_path: Path) -> None:
    animals = {
        "name": "animals",
        "ignore_index": 255,
        "classes": [
            {"id": i, "name": n, "color": (9 * i, 9, 9)} for i, n in enumerate(("cat", "dog", "cow"))
        ],
    }
    other = write_bundle(tmp_path / "animals.edgeseg", labels=animals)
    page = draw(models=(bundles[0], str(other)), data=data)
    warnings = " ".join(w.value for w in page.warning)
    assert "No scores" in warnings
    assert "model animals\\, beside plain" in warnings or "model animals, beside plain" in warnings
    assert not page.error
    text = told(page)
    assert text.count("it cannot be held against this truth") == 1
    assert "This image, class by class" in text, "the one that fits is scored"


def test_sizes_that_differ_and_data_that_is_gone_are_one_message(data: str, bundles: list[str]) -> None:
    root = Path(data.removeprefix("folder:"))
    cv2.imwrite(str(root / "val" / "masks" / "scene0.png"), np.zeros((5, 5), np.uint8))
    page = draw(models=tuple(bundles), data=data)
    assert [e.value for e in page.error if "expected the size of its image" in e.value]
    page = draw(models=(), data="folder:/nowhere")
    assert len(page.error) == 1


def test_nothing_named_is_no_error() -> None:
    page = draw()
    assert not page.error
    assert "Upload an image" in told(page)


def write_run(folder: Path, losses: list[float], **recipe: Any) -> None:
    (folder / "predictions").mkdir(parents=True)
    lines = ["epoch,loss,miou,val_loss,val_miou,top_class_share,learning_rate,seconds"]
    lines += [f"{i},{loss},0.{i}1,{loss},0.{i}2,0.5,0.001,60" for i, loss in enumerate(losses, 1)]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    values = {"model": "unet_mini", "epochs": 3, "data": "d", **recipe}
    (folder / "recipe.yaml").write_text("\n".join(f"{k}: {v}" for k, v in values.items()))
    cv2.imwrite(str(folder / "predictions" / "epoch-002.png"), np.zeros((4, 4, 3), np.uint8))


def write_summary(folder: Path) -> None:
    per_class = {"a": {}, "b": {}}
    evaluation = {"label_resolution": {"per_class": per_class}, "confusion_matrix": [[3, 1], [0, 4]]}
    (folder / "summary.json").write_text(json.dumps({"miou": 0.7, "evaluation": evaluation}))


def test_runs_beside_one_another(tmp_path: Path) -> None:
    write_run(tmp_path / "train" / "one", [2.0, 1.5], loss="dice")
    write_run(tmp_path / "train" / "two", [2.0, 1.0, 0.9], loss="focal")
    write_summary(tmp_path / "train" / "two")
    page = draw("guarded(show_runs, settings, parts)()", runs=str(tmp_path))
    text = told(page)
    assert not page.warning
    for piece in ("train/one", "train/two", "2 of 3", "3 of 3", "70.0", "differs in", "focal"):
        assert piece in text
    charts = [json.loads(c.proto.spec) for c in page.get("plotly_chart")]
    assert len(charts) == 5
    miou = [t for t in charts[0]["data"] if t["mode"] == "lines+markers"]
    assert sorted(len(t["x"]) for t in miou) == [2, 3]
    heat = charts[4]
    assert [a["text"] for a in heat["layout"]["annotations"]] == ["75", "25", "100"]


def test_a_damaged_run_says_what_is_wrong_and_shows_the_rest(tmp_path: Path) -> None:
    write_run(tmp_path / "one", [2.0, 1.5])
    (tmp_path / "one" / "metrics.csv").write_text("epoch,loss\n1,x\n")
    (tmp_path / "one" / "summary.json").write_text("{")
    page = draw("guarded(show_runs, settings, parts)()", runs=str(tmp_path))
    assert len(page.warning) == 1
    assert "metrics" in page.warning[0].value
    assert "summary" in page.warning[0].value
    assert "No epoch of these runs has ended yet" in told(page)


@pytest.mark.parametrize("sheet", ["show_runs", "show_results"])
def test_an_empty_folder_says_so(tmp_path: Path, sheet: str) -> None:
    page = draw(f"guarded({sheet}, settings, parts)()", runs=str(tmp_path), results=str(tmp_path))
    assert "There are no r" in told(page)
    assert "There are no r" in told(draw(f"guarded({sheet}, settings, parts)()"))


def result(cpu: str, models: list[tuple[str, float, float | None]]) -> dict[str, Any]:
    def times(ms: float) -> dict[str, float]:
        return {
            "mean": ms,
            "p50": ms,
            "p90": ms + 1,
            "p99": ms + 2,
            "p99.9": ms + 3,
            "max": ms + 4,
            "jitter": 1,
        }

    def accuracy(miou: float | None) -> Any:
        scores = {"label_resolution": {"miou": miou}, "model_resolution": {}}
        return (
            "not measured" if miou is None else {"dataset": "street", "split": "val", "samples": 9, **scores}
        )

    listed = [
        {
            "name": name,
            "path": name,
            "digest": "0",
            "size_mib": 1,
            "height": 8,
            "width": 8,
            "runtime": "onnx",
            "runtime_version": "1",
            "model_file": "m",
            "precision": "int8",
            "threads": 2,
            "stages_ms": {stage: times(ms) for stage in ("decode", "resize", "infer", "post", "total")},
            "confidence_95_ms": {},
            "round_p50_ms": [],
            "stream": None,
            "cold_start_ms": {},
            "memory_mib": {"peak_mib": 70.4},
            "failure": None,
            "sensors": "not measured",
            "accuracy": accuracy(miou),
        }
        for name, ms, miou in models
    ]
    host = {"cpu": cpu, "cores": 2, "memory_gib": 8, "system": "s", "machine": "m", "governor": "g"}
    return {
        "schema": 2,
        "created": "now",
        "command": "c",
        "state": "complete",
        "options": {},
        "marks": ["noisy"],
        "host": {**host, "load": 0.1, "python": "3", "versions": {}},
        "frames": {"size": "640x360"},
        "conditions": "not measured",
        "sustained": "not measured",
        "models": listed,
    }


def test_accuracy_against_latency_with_the_pareto_set(tmp_path: Path) -> None:
    models = [("slow", 40.0, 0.71), ("fast", 10.0, 0.65), ("beaten", 50.0, 0.70)]
    (tmp_path / "benchmark.json").write_text(json.dumps(result("CPU A", models)))
    (tmp_path / "elsewhere.json").write_text(json.dumps(result("CPU B", [("far", 5.0, 0.9)])))
    (tmp_path / "summary.json").write_text('{"other": "json"}')
    page = draw("guarded(show_results, settings, parts)()", results=str(tmp_path))
    text = told(page)
    for piece in ("slow", "fast", "beaten", "71.0", "70", "noisy", "CPU A"):
        assert piece in text
    assert "far" not in text, "another machine's latencies are not shown beside these"
    (chart,) = (json.loads(c.proto.spec) for c in page.get("plotly_chart"))
    frontier = next(t for t in chart["data"] if t.get("name") == "Pareto set")
    assert frontier["x"][:2] == [10.0, 40.0]
    assert frontier["y"] == [pytest.approx(65), pytest.approx(71), pytest.approx(71)]
    assert text.count("in it") == 2


def test_a_result_that_does_not_parse_is_named(tmp_path: Path) -> None:
    broken = {**result("CPU A", [("a", 1.0, None)]), "schema": 1}
    (tmp_path / "old.json").write_text(json.dumps(broken))
    (tmp_path / "good.json").write_text(json.dumps(result("CPU A", [("good", 1.0, None)])))
    page = draw("guarded(show_results, settings, parts)()", results=str(tmp_path))
    assert any("old" in w.value and "expected a benchmark" in w.value for w in page.warning)
    assert "good" in told(page)
