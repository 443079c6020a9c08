"""How the commands of the docs are made small enough for a test, and where those are run that need more.

The keys are regular expressions that are searched in ``PAGE: edgeseg COMMAND``. One that fits no command of
the docs fails the test, so that nothing stays here that the docs do not say any more.
"""

from __future__ import annotations

from documented_inputs import SIZE

SUBSTITUTED: dict[str, str] = {
    r"\b(\w+):PATH": r"\1:\1",
    r"\bFILE$": "FILE.keras",
    r"\bBUNDLE(?= |$)": "BUNDLE.edgeseg",
    r"--encoder-weights imagenet": "--encoder-weights none",  # nothing is downloaded here
    r"(v4l2://)?/dev/video0": "'synthetic://320x180@30?frames=20'",
    r"synthetic://1280x720@30\?frames=\d+": "synthetic://320x180@30?frames=20",
    r"(?<=127\.0\.0\.1:)\d+": "0",
    r"0\.0\.0\.0": "127.0.0.1",
    r"(?<= )/(opt|run)/": r"\1/",
}
"""In a command's text: what stands for something of the reader's own, of the machine or of the network."""

GIVEN: dict[str, str] = {
    "camvid": "camvid",
    "camvid_road": "camvid",
    "cityscapes8": "cityscapes",
    "coco": "coco",
    "folder": "folder",
    "drive.mp4": "video",
    "drives": "drives",
    "RUN": "run",
    "training.md: runs/train/unet_mini-camvid": "run",
    "dashboard.md: runs/train/edge-camvid": "run",
    "best.keras": "checkpoint",
    "FILE.keras": "checkpoint",
    "A.keras": "checkpoint",
    "B.keras": "checkpoint",
    "BUNDLE.edgeseg": "bundle",
    "a.edgeseg": "bundle",
    "b.edgeseg": "bundle",
    "fp32.edgeseg": "bundle",
    "int8.edgeseg": "bundle",
    "ENCODER.weights.h5": "encoder_weights",
    "labels.yaml": "labels",
    "their.keras": "foreign_keras",
    "their.tflite": "foreign_litert",
    "their.onnx": "foreign_onnx",
    "theirs.tflite": "foreign_litert",
    "run/edgeseg/health.json": "health",
    "edge-arm-int8.edgeseg": "bundle",
    "edge-x86-int8.edgeseg": "bundle",
    "unet_mini.edgeseg": "bundle",
    "unet_mini.keras": "checkpoint",
    "label-HERE.json": "label_speed",
    "old/edge-x86-int8.edgeseg": "bundle",
    "token": "token",
}
"""A path that commands name, from the folder that they run in, to what of ``documented_inputs`` is put there.

Only where it is not there already: what one command wrote, the next one takes. With ``PAGE: `` before it for
one page alone: on another a command has to write it.
"""

SMALLER: dict[str, str] = {
    r"edgeseg (train|compare|sweep) (?!.*--resume)": "--epochs 1 --batch 3 --set precision=float32",
    r"edgeseg train (?!.*--resume)": f"--size {SIZE}",
    r"edgeseg sweep (?!.*--resume)": "--trials 1",
    r"edgeseg sweep (?!.*(--resume|size=))": f"--size {SIZE}",
    r"edgeseg benchmark-label": "--rounds 1 --actors 1",
    r"edgeseg benchmark-serve": "--clients 1 --rounds 1 --seconds 0.2 --workers 1",
    r"--recipe camvid_(unet_mobilenetv2|edge_large)": f"--crop {SIZE}",
    r"edgeseg compare": f"--seeds 1 --size {SIZE}",
    r"edgeseg compare losses": "--losses dice",
    r"edgeseg data synthesize": f"--train 6 --val 3 --size {SIZE}",
    r"edgeseg data preview": "--count 1",
    # Of a few epochs' model in a few images a point is luck: what the budgets do is shown by tests/export.
    r"edgeseg export": "--calibration-samples 4 --qat-steps 0 --max-drop 100 --max-class-drop 100",
    r"edgeseg export .*--size": f"--size {SIZE}",
    # Every format beside every other: tests/export/test_candidates.py.
    r"edgeseg export .*--precision auto": "--format litert --max-latency 10000",
    r"edgeseg verify .*--against": "--max-drop 100",
    r"edgeseg bundle .*--size": f"--size {SIZE}",
    r"edgeseg benchmark ": "--frames 4 --rounds 2 --warmup 1 --cold-starts 1 --threads 1",
    r"edgeseg benchmark-loop": "--frames 12 --rounds 1 --warmup 2",
    r"edgeseg benchmark-robustness": "--samples 1 --corruptions fog --severities 1 --source-frames 2",
    r"edgeseg serve": "--port 0 --workers 1",
    r"edgeseg dashboard": "--port FREE_PORT",
    r"edgeseg generate": f"--epochs 1 --count 2 --batch 3 --channels 4 --size {SIZE}",
    r"edgeseg benchmark-training": "--rounds 1 --seconds 0 --size 32x48 --batch 2 --set precision=float32",
    # A fifth of six images is less than a batch.
    r"edgeseg benchmark-training --recipe": f"--set fraction=1 --size {SIZE}",
}
"""Options that are added to a command; of an option given twice, the last one counts.

``FREE_PORT`` becomes a port that is free.
"""

BEFORE: dict[str, tuple[str, ...]] = {
    # Of the page before: bundles come to a vehicle signed.
    r"vehicle.md: edgeseg install": (
        "edgeseg keygen fleet",
        "edgeseg sign BUNDLE.edgeseg --key fleet.pem",
    ),
    r"serving.md: edgeseg serve .*--require-signature": (
        "edgeseg keygen fleet",
        "edgeseg sign edge-x86-int8.edgeseg --key fleet.pem",
        "edgeseg sign old/edge-x86-int8.edgeseg --key fleet.pem",
    ),
    # Something to go back to.
    r"security.md: edgeseg rollback": (
        "edgeseg bundle their.tflite --labels labels.yaml --input-scale minus1to1 --name second",
        "edgeseg sign runs/export/second.edgeseg --key fleet.pem",
        "edgeseg install runs/export/second.edgeseg /opt/edgeseg --require-signature fleet.pub.pem",
    ),
}
"""What has to be done before a command, and is said elsewhere."""

ENDS: dict[str, tuple[int, str]] = {
    r"edgeseg build": (2, "on a machine with an NVIDIA GPU"),
}
"""Commands that do not end with 0 here: the exit code, and what the message says."""

UNTIL: dict[str, str] = {
    r"edgeseg serve": r"^Answers: http://127\.0\.0\.1:\d+",
    r"edgeseg dashboard": r"^ *URL: http://127\.0\.0\.1:\d+",
}
"""Commands that go on until they are ended: what they say once they work, also a regular expression."""

ELSEWHERE: dict[str, str] = {
    # Two machines.
    r"edgeseg train .*--workers": (
        "tests/training/test_distributed.py::test_two_devices_and_two_processes_equal_one"
    ),
    # A Ray cluster.
    r"edgeseg train .*--ray": (
        "tests/training/test_on_ray.py::test_two_workers_of_a_two_node_cluster_equal_workers_by_hand"
    ),
    r"edgeseg sweep .*--ray": "tests/training/test_sweep_ray.py::test_real_trials",
    r"edgeseg label .*--ray": (
        "tests/edgeseg/test_label_cluster.py::test_a_node_killed_half_way_loses_nothing"
    ),
    # A file of the package segmentation_models.
    r"edgeseg import-weights FILE": (
        "tests/training/test_import_weights.py::test_the_verb_writes_a_checkpoint_with_its_labels"
    ),
    r"edgeseg train --recipe NAME": (
        "tests/training/test_recipes.py::test_is_a_valid_recipe_of_options_that_exist"
    ),
    r"edgeseg models ": (
        "tests/export/test_models_cli.py::test_it_measures_and_goes_on_with_what_it_converted"
    ),
}
"""Commands that cannot be run here, or are run by another test already: which one."""

LONG: dict[str, str] = {
    r"edgeseg sweep": "a process for each trial, with a TensorFlow of its own",
    r"sweeping.md: edgeseg train": "it takes what the sweep left",
    r"edgeseg compare": "a process for each run, with a TensorFlow of its own",
    r"edgeseg benchmark-label": "it starts Ray",
    r"edgeseg benchmark-peers": "five peers' files and seven bundles of one model",
    r"edgeseg benchmark-serve": "a service of Keras beside ours, with a TensorFlow of its own",
    r"edgeseg benchmark-training": "a network is traced, part by part",
    r"edgeseg export .*--precision auto": "an export for each precision",
    r"edgeseg generate": "two networks are traced, and a step of both; a hundred scenes are drawn",
    # Each traces its network. The README, start.md, dashboard.md and the resuming of training.md train too.
    r"(measurements|notebooks).md: edgeseg train": "start.md's, with other sizes and models",
    r"(data|generated).md: edgeseg train": "start.md's, on other data",
    r"(training|recipes).md: edgeseg train --recipe": "the README's, with an encoder's weights",
    r"training.md: edgeseg train .*efficientnetb0": "a graph of hundreds of layers is traced",
}
"""Commands that only ``make large`` runs, and why they take long."""
