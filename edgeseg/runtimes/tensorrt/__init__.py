"""TensorRT, JetPack's and RTX's: the runtime for NVIDIA GPUs, with an engine that is built on the device."""

from edgeseg.runtimes.tensorrt.runtime import Prepared, TensorRT

__all__ = ["Prepared", "TensorRT"]
