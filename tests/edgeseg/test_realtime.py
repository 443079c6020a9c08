"""``--realtime``: had where the system grants it, refused in one message where it does not."""

from __future__ import annotations

import ctypes
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from edgeseg.loop.realtime import cores_for

# In a process of their own: scheduling, limits and users are the whole process's, and do not come back.
GRANTED = """
import json, os, sys, threading
from pathlib import Path
from edgeseg.errors import UsageError
from edgeseg.loop import Health, LoopPlan, run_loop

seen = {}

class Watch(Health):
    def due(self, now_ns):
        return True

    def tell(self, now_ns, values):
        if values["state"] == "OK":
            for role, pid in {"supervisor": values["pid"], **values["processes"]}.items():
                locked = [x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmLck" in x]
                policy = os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK
                seen[role] = policy, os.sched_getparam(pid).sched_priority, int(locked[0].split()[1])

plan = LoopPlan(sys.argv[1], "synthetic://128x64@50?frames=2000", (sys.argv[2],), realtime=True)
stop = threading.Event()
def status(status):
    if len(seen) == 4:
        stop.set()
try:
    run_loop(plan, health=Watch(), on_status=status, stop=stop)
except UsageError as error:
    print(json.dumps({"refused": str(error)}))
else:
    print(json.dumps({**seen, "afterwards": [os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK]}))
"""
_CAPBSET_DROP, _CAPABILITIES = 24, (14, 23)  # CAP_IPC_LOCK, CAP_SYS_NICE


def test_priorities_and_locked_memory_where_the_system_grants_them(bundle: Path, tmp_path: Path) -> None:
    done = _python(GRANTED, bundle, tmp_path / "masks.jsonl")
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    if "refused" in seen:
        pytest.skip(f"this system does not grant it: {seen['refused']}")
    assert {role: seen[role][:2] for role in ("supervisor", "capture", "inference", "sinks")} == {
        "supervisor": [1, 30],  # 1 is SCHED_FIFO
        "capture": [1, 20],
        "inference": [1, 10],
        "sinks": [0, 0],
    }
    assert all(seen[role][2] > 1000 for role in ("supervisor", "capture", "inference"))
    assert seen["sinks"][2] == 0
    assert seen["afterwards"] == [0]


def test_a_refusal_is_one_message_before_anything_is_made(tmp_path: Path) -> None:
    # Neither the bundle nor the source exists: what is asked of the system comes first.
    command = [sys.executable, "-m", "edgeseg", "run", "none.edgeseg", "--source", "none.mp4", "--realtime"]
    done = subprocess.run(
        [*command, "--sink", tmp_path / "out.mp4"],
        preexec_fn=_without_privilege,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("error:") == 1
    for words in (
        "--realtime: expected",
        "SCHED_FIFO is refused (Operation not permitted: RLIMIT_RTPRIO is 0, needed: 30 or CAP_SYS_NICE)",
        "RLIMIT_MEMLOCK is 65536, needed: unlimited or CAP_IPC_LOCK",
        "LimitRTPRIO=30 and LimitMEMLOCK=infinity",
        "prlimit --pid $$",
    ):
        assert words in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("role", "cores", "threads", "bound"),
    [
        ("capture", {0, 1, 2, 3}, None, {0}),
        ("inference", {0, 1, 2, 3}, None, {1, 2, 3}),
        ("inference", {2, 4, 5, 7, 9}, 4, {4, 5, 7, 9}),
        ("inference", {0, 1, 2, 3}, 4, set()),
        ("supervisor", {0, 1, 2, 3}, None, set()),
        ("capture", {0, 1, 2}, None, set()),
    ],
)
def test_cores_are_bound_where_there_are_enough(
    role: str, cores: set[int], threads: int | None, bound: set[int]
) -> None:
    assert cores_for(role, cores, threads) == bound


def _without_privilege() -> None:
    """In the child, before it becomes the program: root loses with that what it may not have any more."""
    for capability in _CAPABILITIES:
        ctypes.CDLL(None).prctl(_CAPBSET_DROP, capability, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))


def _python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
