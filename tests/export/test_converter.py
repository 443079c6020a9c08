from __future__ import annotations

import os
import subprocess
import sys
import traceback

import keras
import pytest

from edgeseg.errors import ConversionError, MissingExtraError
from edgeseg.export.converter import converting, quiet, require_installed, signature_of


def test_quiet_holds_back_python_and_native_output() -> None:
    code = """
import os, sys
from edgeseg.export.converter import quiet
print("before")
with quiet() as capture:
    print("from Python")
    os.write(1, b"from C++ ")
    os.write(2, b"an absl warning ")
    sys.stdout.flush()
    held = capture.text()
print("held", sorted(held.split()))
"""
    ran = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True)
    words = sorted(["from", "Python", "from", "C++", "an", "absl", "warning"])
    assert (ran.stdout, ran.stderr) == (f"before\nheld {words}\n", "")


def test_progress_still_reaches_the_terminal(capfd) -> None:
    with quiet() as capture:
        show = capture.showing(lambda finished, total: os.write(2, f"{finished}/{total} ".encode()))
        os.write(2, b"noise")
        show(1, 2)
        os.write(2, b"noise")
        show(2, 2)
    assert capfd.readouterr().err == "1/2 2/2 "


def test_output_comes_back_after_an_exception(capfd) -> None:
    with pytest.raises(KeyError), quiet():
        raise KeyError("x")
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


def test_no_file_descriptors_are_left_open() -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: PTH112, PTH208
    for _ in range(5):
        with quiet():
            pass
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: PTH112, PTH208
    assert after == before


def test_a_failed_conversion_tells_the_converters_last_error() -> None:
    with pytest.raises(ConversionError, match="op Foo is not supported") as caught, converting("x", "Do y."):
        raise RuntimeError("<unknown>:0: note: loc\n<unknown>:0: error: op Foo is not supported\n trailing")
    assert caught.value.exit_code == 4
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_where_the_exception_is_empty_the_log_speaks() -> None:
    with pytest.raises(ConversionError, match="error: shape mismatch"), converting("x", "Do y."):
        os.write(2, b"chatter\nerror: shape mismatch\nmore chatter\n")
        raise RuntimeError


def test_a_traceback_shows_all_that_the_converter_said() -> None:
    with pytest.raises(ConversionError) as caught, converting("x", "Do y."):
        os.write(2, b"first line\nsecond line\n")
        raise ValueError("no")
    shown = "".join(traceback.format_exception(caught.value))
    assert "first line\nsecond line" in shown
    assert "first line" not in str(caught.value)


def test_a_package_that_a_converter_lacks_is_named_with_its_extra() -> None:
    with (
        pytest.raises(MissingExtraError, match=r"'onnxslim'.*edgeseg\[export\]") as caught,
        converting("x", ""),
    ):
        raise ModuleNotFoundError("No module named 'onnxslim'", name="onnxslim")
    assert caught.value.exit_code == 2


def test_what_is_not_installed_is_found_without_importing_the_rest(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    require_installed("exporting", ["json"])
    with pytest.raises(MissingExtraError, match="'tf2onnx'"):
        require_installed("exporting", ["json", "tf2onnx"])


def test_a_keyboard_interrupt_is_no_conversion_error() -> None:
    with pytest.raises(KeyboardInterrupt), converting("x", "Do y."):
        raise KeyboardInterrupt


def _model(shape=(16, 16, 3), dtype="uint8", stride=1) -> keras.Model:
    image = keras.Input(shape, dtype=dtype)
    x = keras.layers.Rescaling(1 / 255)(image)
    return keras.Model(image, keras.layers.Conv2D(4, 1, strides=stride)(x))


def test_the_signature_names_sizes_and_outputs() -> None:
    signature = signature_of(_model(), "mask+confidence")
    assert (signature.height, signature.width, signature.classes) == (16, 16, 4)
    assert signature.output_names == ("mask", "confidence")
    assert signature.output_shape == (1, 16, 16)
    assert signature_of(_model(), "logits").output_shape == (1, 16, 16, 4)


@pytest.mark.parametrize(
    "wrong",
    [{"shape": (None, None, 3)}, {"shape": (16, 16, 1)}, {"dtype": "float32"}, {"stride": 2}],
    ids=["open size", "grayscale", "float input", "half-size logits"],
)
def test_a_model_outside_the_contract_is_refused(wrong) -> None:
    with pytest.raises(ConversionError, match="uint8"):
        signature_of(_model(**wrong), "mask")


def test_importing_the_export_half_needs_no_keras() -> None:
    code = (
        "import sys; sys.modules.update(keras=None, tensorflow=None, onnx=None, tf2onnx=None)\n"
        "import edgeseg.export.pipeline, edgeseg.export.verify"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
