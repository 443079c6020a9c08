"""What an OpenVINO graph file (``.xml``) refers to, read before OpenVINO's own parser sees it.

The file is passed through once, event by event; no tree is built of it and nothing that it declares is
expanded, so that neither its nesting nor its entities cost memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.parsers import expat

MAX_GRAPH_BYTES = 64 << 20
"""The graph of a segmentation network takes one or two MB; its weights are not in this file."""

_MAX_DEPTH = 32
_STANDARD_OPERATIONS = re.compile(r"opset\d{1,3}")
# Of graphs without loops and branches: element to what may hold it.
_PLACES: dict[str, set[str]] = {
    "net": {""},
    "layers": {"net"},
    "edges": {"net"},
    "layer": {"layers"},
    "data": {"layer"},
    "input": {"layer"},
    "output": {"layer"},
    "port": {"input", "output"},
    "dim": {"port"},
    "edge": {"edges"},
    "rt_info": {"net", "layer", "port"},
}
_NOTES = "rt_info"  # holds notes of any name; OpenVINO looks for none that name a file
_CONSTANT = {"element_type", "shape", "offset", "size"}
_ELSEWHERE = re.compile(r"path|file|location|library|url", re.IGNORECASE)


def unsafe_part(data: bytes) -> str | None:
    """What in this graph needs code or data from outside the bundle, in words; ``None`` where nothing does.

    Raises:
        ValueError: The bytes are not XML in UTF-8, or larger or deeper than any graph.
    """
    if len(data) > MAX_GRAPH_BYTES:
        raise ValueError(f"{len(data)} bytes, where a graph has at most {MAX_GRAPH_BYTES}")
    scan = _Scan()
    try:
        # Decoded here, whatever the file says of itself: OpenVINO must not read other characters than expat.
        scan.parser.Parse(data.decode("utf-8"), True)
    except _FoundError as found:
        return str(found)
    except expat.ExpatError as error:
        raise ValueError(str(error)) from error
    return None


class _FoundError(Exception):
    """Ends the reading at the first part that must not be there."""


class _Scan:
    """One pass over a graph file."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate()
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self._open = [""]

    def _doctype(self, *_: object) -> None:
        # Entities can be declared nowhere else: a few of them unpack to any size, or to another file.
        raise _FoundError("a document type declaration")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) > _MAX_DEPTH:
            raise ValueError(f"elements {len(self._open)} deep")
        if _NOTES not in self._open:
            self._check(name, attributes)
        self._open.append(name)

    def _end(self, _name: str) -> None:
        self._open.pop()

    def _check(self, name: str, attributes: Mapping[str, str]) -> None:
        if self._open[-1] not in _PLACES.get(name, set()):
            raise _FoundError(f"the element {name!r} inside {self._open[-1] or 'nothing'!r}")
        if name == "layer":
            self._kind = attributes.get("type", "")
            if not _STANDARD_OPERATIONS.fullmatch(attributes.get("version", "")):
                raise _FoundError(f"the operation {self._kind!r} of {attributes.get('version', 'nowhere')!r}")
        strange = [a for a in attributes if _ELSEWHERE.search(a)]
        if name == "data" and self._kind == "Const":
            strange += sorted(set(attributes) - _CONSTANT)
        if strange:
            raise _FoundError(f"the attribute {strange[0]!r} of {name!r}")
