"""The camera loop: capture, inference and sinks are processes at their own pace; a supervisor watches."""

from edgeseg.loop.health import Health, read_health
from edgeseg.loop.notify import Notifier
from edgeseg.loop.plan import Budgets, LoopPlan
from edgeseg.loop.report import LoopReport, LoopStatus
from edgeseg.loop.run import run_loop
from edgeseg.loop.signals import stop_on_signals
from edgeseg.loop.sinks import Sink, open_sink

__all__ = [
    "Budgets",
    "Health",
    "LoopPlan",
    "LoopReport",
    "LoopStatus",
    "Notifier",
    "Sink",
    "open_sink",
    "read_health",
    "run_loop",
    "stop_on_signals",
]
