"""One network, run in the ways of others and in ours: who is how much faster, and by whose measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeseg.atomic import write_text
from edgeseg.benchmarks.markdown import care, names, sections
from edgeseg.benchmarks.results import BenchmarkResult, ModelResult
from edgeseg.tables import markdown_table, points

OURS = "edgeseg"
PLAIN = "plain"
HEADER = ("precision", "runtime", "plain, ms", "edgeseg, ms", "plain / edgeseg", "mIoU plain", "mIoU edgeseg")


@dataclass(frozen=True)
class Peers:
    """The models of a result by runtime, precision and whose they are.

    The names of the models are ``RUNTIME PRECISION, WHOSE`` with ``WHOSE`` one of ``plain`` and ``edgeseg``.

    Args:
        result: What was measured in one run.
        notes: What could not take part, in sentences.
    """

    result: BenchmarkResult
    notes: tuple[str, ...] = ()

    def rows(self) -> list[list[str]]:
        """One row for each runtime and precision, for ``HEADER``."""
        rows = []
        for kind in dict.fromkeys(_kind(model) for model in self.result.models):
            plain, ours = self.of(kind, PLAIN), self.of(kind, OURS)
            runtime, _, precision = kind.rpartition(" ")
            ratio = f"{_p50(plain) / _p50(ours):.2f}" if plain and ours else ""
            rows.append([precision, runtime, _ms(plain), _ms(ours), ratio, _miou(plain), _miou(ours)])
        return sorted(rows, key=lambda row: row[0])

    def of(self, kind: str, whose: str) -> ModelResult | None:
        """The model of ``RUNTIME PRECISION`` that is ``plain`` or ``edgeseg``'s."""
        return next((m for m in self.result.models if m.subject.name == f"{kind}, {whose}"), None)

    def headlines(self) -> list[str]:
        """The ratios that matter, in sentences."""
        sentences = []
        ours = [model for model in self.result.models if model.subject.name.endswith(OURS)]
        others = [model for model in self.result.models if not model.subject.name.endswith(OURS)]
        if not ours or not others:
            return []
        best = min(ours, key=_p50)
        for way in ("keras predict fp32, plain", "tf.function fp32, plain"):
            model = next((one for one in others if one.subject.name == way), None)
            if model:
                sentences.append(
                    f"{best.subject.name} is {_p50(model) / _p50(best):.1f} times as fast as "
                    f"{way.removesuffix(', plain')} ({_p50(best):.2f} and {_p50(model):.2f} ms)."
                )
        for precision in dict.fromkeys(model.latency.loaded.precision for model in self.result.models):
            sentences += _of_precision(
                precision,
                [m for m in ours if m.latency.loaded.precision == precision],
                [m for m in others if m.latency.loaded.precision == precision],
            )
        return sentences

    def markdown(self) -> str:
        """The table of peers with its headlines, then the whole benchmark."""
        head = ["# One network, its peers and edgeseg", "\n".join(f"- {s}" for s in self.headlines())]
        # The whole benchmark's marks stand before the first number of the page, not in its middle.
        head[1:1] = care(self.result)
        head.append(
            "Whole path, p50 in ms: decode, resize, infer, class map back at the frame's size. *plain* "
            "is the file that the tool's own converter makes by its guide, with NumPy's argmax after it; "
            "*edgeseg* is the exported bundle. All took turns in one run."
        )
        head.append(markdown_table(HEADER, self.rows()))
        if self.notes:
            head.append("Left out:\n\n" + "\n".join(f"- {note}" for note in self.notes))
        head.append(f"## The benchmark of all {names(self.result)}")
        return "\n\n".join([*head, *sections(self.result)]) + "\n"


def write_peers(peers: Peers, folder: Path) -> None:
    """``peers.md`` in the folder of the benchmark."""
    write_text(folder / "peers.md", peers.markdown())


def _of_precision(precision: str, ours: Sequence[ModelResult], others: Sequence[ModelResult]) -> list[str]:
    if not ours or not others:
        return []
    best, peer = min(ours, key=_p50), min(others, key=_p50)
    ratio = _p50(peer) / _p50(best)
    text = f"{best.subject.name} {_p50(best):.2f} ms, {peer.subject.name} {_p50(peer):.2f} ms"
    chance = ", and their confidence intervals overlap" if _overlap(best, peer) else ""
    if ratio >= 1:
        return [f"In {precision} edgeseg is the fastest, by {100 * (ratio - 1):.0f} %: {text}{chance}."]
    return [
        f"In {precision} a peer is faster than edgeseg, by {100 * (1 / ratio - 1):.0f} %: {text}{chance}."
    ]


def _overlap(one: ModelResult, other: ModelResult) -> bool:
    """Whether the difference of two medians may be chance."""
    known = [model.latency.intervals.get("p50") for model in (one, other)]
    if known[0] is None or known[1] is None:
        return False
    return known[0][0] <= known[1][1] and known[1][0] <= known[0][1]


def _kind(model: ModelResult) -> str:
    return model.subject.name.rpartition(", ")[0]


def _p50(model: ModelResult) -> float:
    return model.latency.total.p50


def _ms(model: ModelResult | None) -> str:
    return f"{_p50(model):.2f}" if model else ""


def _miou(model: ModelResult | None) -> str:
    return points(model.accuracy.miou) if model and model.accuracy else ""
