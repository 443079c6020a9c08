"""Whether the loop can be relied on: a state with its reason, from facts and a clock that are given to it.

``FAILED`` is entered at once, for a mask that must not be used must not be used for one frame more; it is
left only after several good masks. ``DEGRADED`` is entered and left slowly, so that one late frame is no
alarm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

State = Literal["STARTING", "OK", "DEGRADED", "FAILED", "STOPPING"]
STATES: tuple[State, ...] = get_args(State)
"""In the order of their numbers on the board and in shared memory, which other programs read: append only."""
USABLE: tuple[State, ...] = ("OK", "DEGRADED")
"""States in which masks can be relied on."""

GOOD_MASKS = 3
"""So many masks in a row, with nothing amiss, end ``STARTING`` and ``FAILED``."""
DEGRADED_AFTER_NS = 300_000_000
"""What is amiss for so long makes the loop ``DEGRADED``."""
DEGRADED_UNTIL_NS = 1_000_000_000
"""So long must nothing have been amiss to end it."""
WAITING = "waiting for "
"""How a failure begins that is none before the first mask: a model that still loads."""


@dataclass(frozen=True)
class Facts:
    """What is known at one moment.

    Args:
        failures: What makes masks useless or absent, in words, the gravest first.
        troubles: What makes them worse than they should be.
        masks: How many have been finished, ever.
        ending: Why the loop ends; empty while it goes on.
    """

    failures: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()
    masks: int = 0
    ending: str = ""


@dataclass(frozen=True)
class Change:
    """From one state to another, with the reason for the new one (empty for ``OK``)."""

    at_ns: int
    before: State
    after: State
    reason: str


@dataclass
class StateMachine:
    """The state so far.

    Attributes:
        state, reason: As they are; the reason is empty in ``OK``.
        since_ns: When the state was entered.
    """

    since_ns: int
    state: State = "STARTING"
    reason: str = "no mask yet"
    _good_from: int = 0
    _trouble_since_ns: int | None = None
    _calm_since_ns: int | None = None

    def update(self, now_ns: int, facts: Facts) -> Change | None:
        """Take in the facts of a moment that is not before the last; the change of state, if it is one."""
        self._watch_troubles(now_ns, facts)
        state, reason = self._next(now_ns, facts)
        before, self.reason = self.state, reason
        if state == before:
            return None
        self.state, self.since_ns = state, now_ns
        return Change(now_ns, before, state, reason)

    def _next(self, now_ns: int, facts: Facts) -> tuple[State, str]:
        if facts.ending or self.state == "STOPPING":
            return "STOPPING", facts.ending or self.reason
        if facts.failures:
            self._good_from = facts.masks
            starting = self.state == "STARTING" and not facts.masks
            return ("STARTING" if starting and _only_waits(facts) else "FAILED"), facts.failures[0]
        if self.state in ("STARTING", "FAILED") and facts.masks - self._good_from < GOOD_MASKS:
            return self.state, self.reason
        return self._degraded_or_not(now_ns, facts)

    def _degraded_or_not(self, now_ns: int, facts: Facts) -> tuple[State, str]:
        if facts.troubles:
            lasting = (
                self._trouble_since_ns is not None and now_ns - self._trouble_since_ns >= DEGRADED_AFTER_NS
            )
            if lasting or self.state == "DEGRADED":
                return "DEGRADED", "; ".join(facts.troubles)
        elif self.state == "DEGRADED":
            calm = self._calm_since_ns is not None and now_ns - self._calm_since_ns >= DEGRADED_UNTIL_NS
            if not calm:
                return "DEGRADED", self.reason
        return "OK", ""

    def _watch_troubles(self, now_ns: int, facts: Facts) -> None:
        if facts.troubles:
            self._calm_since_ns = None
            if self._trouble_since_ns is None:
                self._trouble_since_ns = now_ns
        else:
            self._trouble_since_ns = None
            if self._calm_since_ns is None:
                self._calm_since_ns = now_ns


def _only_waits(facts: Facts) -> bool:
    """Whether all that is amiss is that a model still loads or a source still opens."""
    return all(failure.startswith(WAITING) for failure in facts.failures)
