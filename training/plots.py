"""Pictures of a run: curves, confusion matrix, prediction grid, labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseg.atomic import atomic_file
from edgeseg.errors import MissingExtraError
from edgeseg.labels import LabelSet, Mask
from edgeseg.metrics import scores_of
from edgeseg.resize import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from edgeseg.training.run_folder import EpochRow

INK, FAINT = "#222222", "#999999"
TRAIN, VAL, MARK = "#8a8f98", "#1f6feb", "#d1482f"
_STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "figure.facecolor": "white",
}


def plot_curves(path: Path, rows: Sequence[EpochRow]) -> None:
    """Loss, mIoU and learning rate by epoch; the best epoch is marked."""
    best = max(rows, key=lambda row: row.val_miou)
    epochs = [row.epoch for row in rows]
    with new_figure(path, 11, 3.2, columns=3) as (_, [[loss, miou, rate]]):
        for axes, name, scale in ((loss, "loss", 1), (miou, "miou", 100)):
            axes.plot(epochs, [scale * getattr(r, name) for r in rows], ".-", color=TRAIN, label="train")
            axes.plot(epochs, [scale * getattr(r, f"val_{name}") for r in rows], ".-", color=VAL, label="val")
        name = f"best: {100 * best.val_miou:.1f}, epoch {best.epoch}"
        miou.plot(best.epoch, 100 * best.val_miou, "o", color=MARK, markersize=7, label=name)
        loss.legend()
        miou.legend(loc="lower right")
        rate.plot(epochs, [row.learning_rate for row in rows], ".-", color=INK)
        rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        for axes, title in ((loss, "Loss"), (miou, "mIoU, model resolution"), (rate, "Learning rate")):
            _by_epoch(axes, title, epochs[-1])
        miou.set_ylim(0, 108 * max(best.val_miou, max(row.miou for row in rows)) or 1)


def plot_confusion(path: Path, matrix: npt.NDArray[np.int64], labels: LabelSet, title: str) -> None:
    """A confusion matrix ``[C, C]``, row = truth, each row in percent, with the classes' IoU beside it."""
    rows = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    iou = scores_of(matrix).iou
    size = max(4.6, 0.52 * len(labels) + 2.6)
    with new_figure(path, size + 0.6, size) as (figure, [[axes]]):
        shown = axes.imshow(rows, cmap="Blues", vmin=0, vmax=100)
        for (i, j), value in np.ndenumerate(rows):
            if matrix[i].sum() and value >= 0.5:
                color = "white" if value > 55 else INK
                axes.text(j, i, f"{value:.0f}", ha="center", va="center", color=color, fontsize=8)
        names = [f"{n}   {_percent(s)}" for n, s in zip(labels.names, iou, strict=True)]
        axes.set_xticks(range(len(labels)), labels.names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(labels)), names)
        axes.set(xlabel="predicted", ylabel="truth   (IoU %)", title=title)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        figure.colorbar(
            shown, ax=axes, shrink=0.75, label="% of the true class", pad=0.02
        ).outline.set_visible(False)


def plot_predictions(
    path: Path,
    labels: LabelSet,
    images: Sequence[Image],
    truths: Sequence[Mask],
    predictions: Sequence[Mask],
    title: str,
    captions: Sequence[str] = (),
) -> None:
    """Image, truth and prediction side by side, one row each, with the classes' colours below.

    Args:
        path: PNG file.
        labels: Names and colours.
        images: ``uint8 [H, W, 3]`` RGB.
        truths, predictions: Class maps ``uint8 [H, W]``. Where the truth is ignored both are black.
        title: Above the grid.
        captions: One line below each row, or none.
    """
    height, width = images[0].shape[:2]
    cell = 2.8
    rows_height = len(images) * (cell * height / width + (0.1 if captions else 0))
    legend_height = 0.32 * -(-len(labels) // 6) + 0.25
    inches = rows_height + legend_height + 0.75
    with new_figure(path, 3 * cell + 0.2, inches, rows=len(images), columns=3) as (figure, grid):
        for row, (image, truth, prediction) in enumerate(zip(images, truths, predictions, strict=True)):
            counted = np.where(truth == labels.ignore_index, truth, prediction)
            for axes, picture in zip(
                grid[row], (image, labels.colorize(truth), labels.colorize(counted)), strict=True
            ):
                axes.imshow(picture, interpolation="nearest" if picture is not image else "antialiased")
                axes.set_axis_off()
            if captions:
                # Long ones reach under the next picture, and make no room for themselves there.
                note = grid[row][0].annotate(
                    captions[row], (0, 0), (0, -3), "axes fraction", "offset points", va="top", fontsize=8
                )
                note.set_in_layout(False)
        for axes, name in zip(grid[0], ("image", "truth", "prediction"), strict=True):
            axes.set_title(name, fontweight="normal", loc="center")
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
        class_legend(figure, labels)


def plot_labels(
    path: Path,
    labels: LabelSet,
    histograms: Mapping[str, npt.NDArray[np.int64]],
    image: Image,
    mask: Mask,
) -> None:
    """What the labels look like: a sample, the sample with its classes, and each class's share of each split.

    Args:
        path: PNG file.
        labels: Names and colours.
        histograms: Split name to pixels of each class ``[C]``.
        image, mask: A sample ``uint8 [H, W, 3]`` and ``uint8 [H, W]``.
    """
    inches = max(3.4, 0.3 * len(labels) + 1.2)
    with new_figure(path, 12, inches, columns=3, widths=(1, 1, 1.15)) as (_, [axes]):
        for panel, picture, title in (
            (axes[0], image, "Image"),
            (axes[1], _blend(image, mask, labels), "Labels over it"),
        ):
            panel.imshow(picture)
            panel.set_axis_off()
            panel.set_title(title)
        _plot_shares(axes[2], labels, histograms)


@contextmanager
def new_figure(
    path: Path,
    width: float,
    height: float,
    *,
    rows: int = 1,
    columns: int = 1,
    widths: Sequence[float] | None = None,
) -> Iterator[tuple[Figure, Any]]:
    """A figure in the house style, of ``width`` × ``height`` inches, saved atomically when the block ends.

    Yields the figure and its axes ``[rows, columns]``.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure as NewFigure
    except ImportError as error:
        raise MissingExtraError.of("plots", "matplotlib", "benchmark") from error
    with matplotlib.rc_context(_STYLE):
        # A Figure of its own, not pyplot's: no window system is asked for, and no global list holds it.
        figure = NewFigure((width, height), layout="constrained", dpi=110)
        yield figure, figure.subplots(rows, columns, squeeze=False, width_ratios=widths)
        with atomic_file(path) as staging:
            figure.savefig(staging, format="png")


def _plot_shares(axes: Axes, labels: LabelSet, histograms: Mapping[str, npt.NDArray[np.int64]]) -> None:
    height = 0.8 / len(histograms)
    positions = np.arange(len(labels))
    colors = [np.array(c.color) / 255 for c in labels.classes]
    for index, (split, histogram) in enumerate(histograms.items()):
        share = 100 * histogram / max(histogram.sum(), 1)
        offset = (index - (len(histograms) - 1) / 2) * height
        bars = axes.barh(
            positions + offset, share, height * 0.9, color=colors, edgecolor=INK, linewidth=0.4,
            alpha=1 if index == 0 else 0.45,
        )  # fmt: skip
        axes.bar_label(bars, [f"{split} {_share(s)}" for s in share], padding=3, fontsize=7, color=INK)
    axes.set_yticks(positions, labels.names)
    axes.invert_yaxis()
    axes.set(xlabel="% of labelled pixels", title="Share of each class")
    axes.margins(x=0.22)
    axes.tick_params(length=0)


def _by_epoch(axes: Axes, title: str, last: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(title=title, xlabel="epoch", xlim=(0.5, last + 0.5))
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def caption(axes: Axes, text: str) -> None:
    """A line of text over a picture, in its upper left corner."""
    box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 2}
    axes.text(0.02, 0.97, text, transform=axes.transAxes, va="top", fontsize=8, bbox=box)


def class_legend(figure: Figure, labels: LabelSet) -> None:
    """Every class's colour and name, below all axes."""
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=np.array(c.color) / 255, edgecolor=FAINT, linewidth=0.5, label=c.name)
        for c in labels.classes
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)), fontsize=8)


def _blend(image: Image, mask: Mask, labels: LabelSet) -> Image:
    blended: Image = (0.4 * image + 0.6 * labels.colorize(mask)).astype(np.uint8)
    return blended


def _percent(share: float) -> str:
    return "n/a" if np.isnan(share) else f"{100 * share:.0f}"


def _share(percent: float) -> str:
    return f"{percent:.1f}" if percent >= 0.1 else f"{percent:.2f}"
