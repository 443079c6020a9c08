"""Ten thousand bundles that were changed at random, by damage and by forgers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

SEED, COUNT = 20_250_101, 10_000


@pytest.mark.heavy
def test_changed_bundles_are_refused_with_an_error_of_their_own(project_root: Path) -> None:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        command = [sys.executable, project_root / "tests" / "fuzz_bundles.py", folder, str(SEED), str(COUNT)]
        environment = {**os.environ, "PYTHONPATH": str(project_root), "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    outcomes = found["outcomes"]
    assert found["wrong"] == []
    assert sum(outcomes.values()) == 3 * COUNT
    # Some changes leave a bundle that is as good as before, such as another name in it.
    assert 0 < outcomes.pop("bundle: opened") < COUNT // 4
    assert len(outcomes) >= 14
    assert found["slowest"] < 10
    assert found["peak_mib"] < 512
