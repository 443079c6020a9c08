"""Moments: when a bundle was exported, and so which of two is the older one."""

from __future__ import annotations

from datetime import datetime, timezone


def parse_moment(text: str) -> datetime:
    """An ISO 8601 date or time; UTC where it names no zone.

    Raises:
        ValueError: It is something else.
    """
    # Python 3.10 does not know the Z.
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
