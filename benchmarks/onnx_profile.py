"""ONNX Runtime's profile of a model on noise: ``python onnx_profile.py MODEL THREADS RUNS FOLDER``.

It imports nothing of edgeseg, on purpose: what it writes is to be independent of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

_ERRORS_ONLY = 3


def main() -> None:
    """Run the model and leave ONNX Runtime's profile in the folder."""
    import numpy as np
    import onnxruntime

    model, threads, runs, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    noise = np.random.default_rng(0).integers(0, 256, given.shape).astype(np.uint8)
    for _ in range(runs):
        session.run(None, {given.name: noise})
    session.end_profiling()


if __name__ == "__main__":
    main()
