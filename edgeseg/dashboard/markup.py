"""The page's own pieces of HTML: legends and tables that read well on light and on dark."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeseg.labels import Color

# Greys are shares of the text's own colour, so that one sheet serves both themes.
STYLE = """<style>
[data-testid="stMainBlockContainer"] { padding-top: 3.5rem; }
.es-legend { display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; font-size: .85rem; line-height: 1.5; }
.es-legend span { white-space: nowrap; }
.es-swatch { display: inline-block; width: .8rem; height: .8rem; border-radius: .2rem; margin-right: .45rem;
  vertical-align: -.08rem; box-shadow: inset 0 0 0 1px rgba(128, 128, 128, .45); }
.es-scroll { overflow-x: auto; }
.es-table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; width: 100%; }
.es-table th, .es-table td { padding: .28rem .7rem; text-align: right; border: 0;
  border-bottom: 1px solid rgba(128, 128, 128, .22); }
.es-table th { font-weight: 600; vertical-align: bottom; border-bottom: 1px solid rgba(128, 128, 128, .6); }
.es-table th.es-group { text-align: center; border-bottom-color: rgba(128, 128, 128, .3); }
.es-table th:first-child, .es-table td:first-child { text-align: left; padding-left: 0; }
.es-table td.es-text, .es-table th.es-text { text-align: left; }
.es-table td { white-space: nowrap; }
.es-table tr.es-strong td { font-weight: 600; border-top: 1px solid rgba(128, 128, 128, .6); }
.es-table td.es-best { font-weight: 700; }
.es-soft { opacity: .6; }
.es-heading div { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; line-height: 1.45; }
.es-heading div + div { font-size: .85rem; min-height: 1.25rem; opacity: .65; }
.es-empty { aspect-ratio: 2; display: flex; align-items: center; justify-content: center; text-align: center;
  padding: 0 1rem; font-size: .85rem; border: 1px dashed rgba(128, 128, 128, .5); border-radius: .5rem; }
</style>"""


@dataclass(frozen=True)
class Cell:
    """A cell of a table. ``text`` is escaped; ``swatch`` is a colour before it."""

    text: str
    best: bool = False
    swatch: Color | None = None
    left: bool = False


@dataclass(frozen=True)
class Group:
    """A heading over so many columns."""

    text: str
    columns: int


Row = Sequence["str | Cell"]


def legend(entries: Iterable[tuple[str, Color | str]]) -> str:
    """Names with their colours, RGB or as CSS writes them, in a row that wraps."""
    spans = "".join(f"<span>{_swatch(color)}{html.escape(name)}</span>" for name, color in entries)
    return f'<div class="es-legend">{spans}</div>'


def table(header: Row, rows: Iterable[Row], strong: Iterable[Row] = (), groups: Iterable[Group] = ()) -> str:
    """A table: the first column to the left, numbers to the right.

    Args:
        header, rows: A cell for each column.
        strong: Rows that close it, in bold.
        groups: Headings above the header, for all of its columns.
    """
    above = "".join(
        f'<th class="es-group" colspan="{g.columns}">{html.escape(g.text)}</th>'
        if g.text
        else f'<th colspan="{g.columns}" style="border: 0"></th>'
        for g in groups
    )
    head = f"<tr>{above}</tr>" * bool(above) + f"<tr>{''.join(_cell('th', cell) for cell in header)}</tr>"
    plain = "".join(f"<tr>{''.join(_cell('td', c) for c in row)}</tr>" for row in rows)
    last = "".join(f'<tr class="es-strong">{"".join(_cell("td", c) for c in row)}</tr>' for row in strong)
    body = f"<thead>{head}</thead><tbody>{plain}{last}</tbody>"
    return f'<div class="es-scroll"><table class="es-table">{body}</table></div>'


def heading(text: str, detail: str = "") -> str:
    """A name and a line below it. Neither wraps: pictures beside one another stay at one height."""
    name, more = html.escape(text, quote=True), html.escape(detail, quote=True)
    lines = f'<div title="{name}"><b>{name}</b></div><div title="{more}">{more}</div>'
    return f'<div class="es-heading">{lines}</div>'


def empty(text: str) -> str:
    """A frame of a picture's shape that says why there is none."""
    return f'<div class="es-empty"><span class="es-soft">{html.escape(text)}</span></div>'


def plain(text: str) -> str:
    """Text for a place that reads Markdown, so that every character of it is itself."""
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~$:])", r"\\\1", text)


def best_of(values: Sequence[float], texts: Sequence[str]) -> list[Cell]:
    """Cells of which the highest value is marked, where there are several and they differ as written."""
    known = [value for value in values if value == value]
    top = texts[list(values).index(max(known))] if known else None
    several = len(set(texts)) > 1 and len(known) > 1
    return [Cell(text, best=several and text == top) for text in texts]


def _cell(tag: str, cell: str | Cell) -> str:
    cell = Cell(cell) if isinstance(cell, str) else cell
    names = [name for name, on in (("es-best", cell.best), ("es-text", cell.left)) if on]
    attribute = f' class="{" ".join(names)}"' if names else ""
    text = html.escape(cell.text)
    if cell.text == "n/a":
        text = f'<span class="es-soft">{text}</span>'
    return f"<{tag}{attribute}>{_swatch(cell.swatch) if cell.swatch else ''}{text}</{tag}>"


def _swatch(color: Color | str) -> str:
    css = color if isinstance(color, str) else f"rgb{color}"
    return f'<i class="es-swatch" style="background: {css}"></i>'
