"""Runtimes: what runs a bundle's model file. One file or folder and one line here for each."""

from edgeseg.runtimes.base import RawOutput, Runtime, RuntimeFactory
from edgeseg.runtimes.litert import LiteRT
from edgeseg.runtimes.onnx import OnnxRuntime
from edgeseg.runtimes.openvino import OpenVINO
from edgeseg.runtimes.tensorrt import TensorRT

RUNTIMES: dict[str, RuntimeFactory] = {
    "litert": LiteRT(),
    "onnx": OnnxRuntime(),
    "openvino": OpenVINO(),
    "tensorrt": TensorRT(),
}

__all__ = ["RUNTIMES", "RawOutput", "Runtime", "RuntimeFactory"]
