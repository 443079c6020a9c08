"""The camera loop: capture, inference and sink, each at its own pace."""

from edgeseg.loop.report import LoopReport, LoopStatus
from edgeseg.loop.run import choose_mode, run_loop
from edgeseg.loop.signals import stop_on_signals
from edgeseg.loop.sinks import Sink, open_sink

__all__ = ["LoopReport", "LoopStatus", "Sink", "choose_mode", "open_sink", "run_loop", "stop_on_signals"]
