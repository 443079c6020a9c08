"""What the commands of the docs are given: files and datasets that they name, drawn small, made on demand."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper

import toys
from conftest import ROOT
from documented_runner import run_here
from edgeseg.training.data.camvid import CAMVID
from foreign_models import onnx_file, write_labels
from running_command import Run

HEIGHT, WIDTH = 64, 96
SIZE = f"{HEIGHT}x{WIDTH}"
# CamVid's, of which the foreign models' scores are as well.
CLASSES = CAMVID.names
WEIGHTS = np.random.default_rng(3).normal(size=(len(CLASSES), 3)).astype(np.float32)


class Inputs:
    """Each property makes its file once and gives its path, which is not to be written to."""

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self._folder, self._running = folder, running
        folder.mkdir()

    def put(self, name: str, place: Path) -> None:
        """Bring an input by the name of its property to where a command looks for it."""
        place.parent.mkdir(parents=True, exist_ok=True)
        if name == "health":
            return self._start_loop(place)
        made: Path = getattr(self, name)
        if made.is_dir():
            shutil.copytree(made, place)
        else:
            shutil.copy(made, place)
        return None

    @cached_property
    def camvid(self) -> Path:
        """SegNet's tree; every class of CamVid in every mask."""
        root = self._folder / "camvid"
        for split, count in (("train", 6), ("val", 3)):
            lines = []
            for index in range(count):
                image, mask = _scene(split, index)
                mask[:4] = np.arange(WIDTH) // 8  # 0 to 11: the classes and void
                paths = [f"{split}/{index:03}.png", f"{split}annot/{index:03}.png"]
                for path, picture in zip(paths, (image[..., ::-1], mask), strict=True):
                    _write(root / path, picture)
                lines.append(" ".join(f"/SegNet/CamVid/{path}" for path in paths))
            (root / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return root

    @cached_property
    def cityscapes(self) -> Path:
        from edgeseg.training.data.synthetic import open_synthetic, write_cityscapes

        root = self._folder / "cityscapes"
        write_cityscapes(open_synthetic(f"train=6,val=3,size={HEIGHT}x{WIDTH}"), root)
        return root

    @cached_property
    def coco(self) -> Path:
        """A person and a car in each picture, drawn over streets."""
        root = self._folder / "coco"
        names = ((1, "person"), (3, "car"), (10, "traffic light"))
        for split, count in (("train", 6), ("val", 3)):
            images, marks = [], []
            for number in range(1, count + 1):
                name = f"{number:012}.png"
                _write(root / f"{split}2017" / name, _scene(split, number)[0][..., ::-1])
                images.append({"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH})
                marks += [_mark(3 * number + i, number, names[i][0], 30 * i + number) for i in range(3)]
            categories = [{"id": category, "name": name} for category, name in names]
            values = {"images": images, "annotations": marks, "categories": categories}
            file = root / "annotations" / f"instances_{split}2017.json"
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps(values), encoding="utf-8")
        return root

    @cached_property
    def folder(self) -> Path:
        """Images and masks of one's own, of CamVid's classes, so that they can be trained on beside it."""
        root = self._folder / "folder"
        for split, count in (("train", 6), ("val", 3)):
            for index in range(count):
                image, mask = _scene(split, index)
                _write(root / split / "images" / f"{index}.png", image[..., ::-1])
                mask[:4] = np.arange(WIDTH) % len(CLASSES)
                _write(root / split / "masks" / f"{index}.png", mask)
        write_labels(root, CLASSES)
        return root

    @cached_property
    def video(self) -> Path:
        return toys.write_video(self._folder / "drive.mp4", frames=8, height=HEIGHT, width=WIDTH)

    @cached_property
    def drives(self) -> Path:
        """What a fleet brings home: videos and images, in folders."""
        root = self._folder / "drives"
        (root / "first").mkdir(parents=True)
        shutil.copy(self.video, root / "first" / "drive.mp4")
        _write(root / "view.png", _scene("val", 0)[0][..., ::-1])
        return root

    @cached_property
    def label_speed(self) -> Path:
        """As it was measured: the command that measures takes minutes."""
        return ROOT / "benchmarks" / "results" / "label-intel-amx-2-cores.json"

    @cached_property
    def run(self) -> Path:
        """A run folder with a best model, interrupted in its second epoch of two."""
        from edgeseg.training.fit import train
        from edgeseg.training.observer import Observer
        from edgeseg.training.recipe import make_recipe

        class CtrlC(Observer):
            def stepped(self, epoch: int, step: int, logs: object) -> None:
                if epoch == 2:
                    raise KeyboardInterrupt

        root = self._folder / "run"
        values = {
            "data": f"camvid:{self.camvid}", "size": (HEIGHT, WIDTH), "model_options": {"channels": 4},
            "epochs": 2, "batch": 3, "precision": "float32", "workers": 0,
        }  # fmt: skip
        with suppress(KeyboardInterrupt):
            train(make_recipe(values), root, [CtrlC()])
        return root

    @cached_property
    def checkpoint(self) -> Path:
        return self.run / "weights" / "best.keras"

    @cached_property
    def bundle(self) -> Path:
        """For a Jetson, so that every verb takes it: without TensorRT it runs in ONNX Runtime."""
        command = [
            "export",
            str(self.checkpoint),
            "--target",
            "jetson",
            "--samples",
            "2",
            "--max-drop",
            "100",
        ]
        ran = run_here([*command, "--max-class-drop", "100", "--out", "bundle.edgeseg"], self._folder)
        assert ran.code == 0, ran.said
        return self._folder / "bundle.edgeseg"

    @cached_property
    def encoder_weights(self) -> Path:
        import keras

        path = self._folder / "encoder.weights.h5"
        keras.applications.MobileNetV2((HEIGHT, WIDTH, 3), include_top=False, weights=None).save_weights(path)
        return path

    @cached_property
    def labels(self) -> Path:
        return write_labels(self._folder, CLASSES)

    @cached_property
    def foreign_keras(self) -> Path:
        """Scaled floats of any size in, probabilities out."""
        import keras

        path = self._folder / "foreign.keras"
        image = keras.Input((None, None, 3))
        scores = keras.layers.Conv2D(len(CLASSES), 3, padding="same", activation="softmax")(image)
        keras.Model(image, scores).save(path)
        return path

    @cached_property
    def foreign_litert(self) -> Path:
        import tensorflow as tf

        from foreign_litert import int8

        path = self._folder / "foreign.tflite"
        path.write_bytes(int8(tf.uint8, 1, WEIGHTS))
        return path

    @cached_property
    def foreign_onnx(self) -> Path:
        """Of open size, with a second output of the name that the docs take."""
        path = onnx_file(self._folder / "foreign.onnx", open_sizes=True, weights=WEIGHTS)
        model = onnx.load(path)
        model.graph.node.append(helper.make_node("Identity", ["scores"], ["segmentation"]))
        model.graph.output.append(helper.make_tensor_value_info("segmentation", TensorProto.FLOAT, None))
        onnx.save(model, path)
        return path

    @cached_property
    def token(self) -> Path:
        path = self._folder / "token"
        path.write_text("0123456789abcdef" * 4 + "\n", encoding="utf-8")
        return path

    def _start_loop(self, health: Path) -> None:
        """A loop that keeps this file, until the page's commands have run."""
        run = Run(health.parent)
        self._running.callback(run.kill)
        run.wait_state("OK")
        assert run.health_file == health


def _scene(split: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """A drawn street, RGB, and the ids of ``cityscapes8``, 0 to 7."""
    from edgeseg.training.data.cityscapes import CITYSCAPES8
    from edgeseg.training.data.synthetic import draw_scene

    image, raw = draw_scene(7, split, index, HEIGHT, WIDTH)
    return image, CITYSCAPES8.encode_ids(raw, f"{split}/{index}")


def _mark(index: int, image: int, category: int, left: int) -> dict[str, Any]:
    """A rectangle of 20 × 24 pixels, as COCO describes it."""
    right, top, bottom = left + 20, 30, 54
    return {
        "id": index, "image_id": image, "category_id": category, "iscrowd": 0,
        "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
        "area": 480, "bbox": [left, top, 20, 24],
    }  # fmt: skip


def _write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)
