"""Code within a text: roles of docstrings and what escapes a bar in a table go, and no option is broken."""

from __future__ import annotations

import re

_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):(?=<code>)")
_CELL = re.compile(r"<td.*?</td>", flags=re.DOTALL)
_CODE = re.compile(r"<code>.*?</code>", flags=re.DOTALL)
_OPTION = re.compile(r"(?<![^\s>'])--\w[\w-]*")


def on_page_content(html: str, **_: object) -> str:
    plain = _CELL.sub(lambda cell: cell[0].replace(r"\|", "|"), _ROLE.sub("", html))
    return _CODE.sub(_with_whole_options, plain)


def _with_whole_options(code: re.Match[str]) -> str:
    return _OPTION.sub(r'<span class="option">\g<0></span>', code[0])
