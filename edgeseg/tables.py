"""Scores and tables as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def points(share: float | None) -> str:
    """A share from 0 to 1 in points with one decimal; ``n/a`` where there is none."""
    return "n/a" if share is None or share != share else f"{100 * share:.1f}"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: first column to the left, the others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
