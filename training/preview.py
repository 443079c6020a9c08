"""A picture of what the model will see: labelled images beside what augmentation makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.labels import LabelSet, Mask
from edgeseg.overlay import draw_overlay
from edgeseg.resize import Image, resize_image, resize_mask
from edgeseg.training.data.augment import Augmenter
from edgeseg.training.data.dataset import Dataset
from edgeseg.training.plots import caption, class_legend, new_figure
from edgeseg.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMN_INCHES = 2.9
# Little enough to judge the colours of the image under it.
_ALPHA = 0.4
_STRIPE, _LIGHT, _DARK = 4, 225, 150


@dataclass(frozen=True)
class PreviewRow:
    """One image of the training split.

    Attributes:
        name: The item's name.
        image: At the recipe's size, ``uint8 [H, W, 3]`` RGB.
        mask: Its class ids ``uint8 [H, W]``.
        variants: Images with masks as a training step gets them, of the recipe's crop or size.
    """

    name: str
    image: Image
    mask: Mask
    variants: tuple[tuple[Image, Mask], ...]


def preview_rows(dataset: Dataset, recipe: Recipe, count: int, variants: int) -> Iterator[PreviewRow]:
    """Images from all over the training split, varied as the recipe says.

    They are read from the dataset's own files: nothing else has to be decoded for it.

    Args:
        dataset: Where they come from.
        recipe: Its training split, size, crop, augmentation and seed matter.
        count: Images, as far as the split has so many.
        variants: Of each image.

    Raises:
        DataError: There is no such split, or a file is faulty.
        MissingExtraError: albumentations is needed and not installed.
    """
    items = dataset.items(recipe.train_split)
    augment = Augmenter(recipe.augment, dataset.labels.ignore_index, recipe.crop)
    for number in np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int):
        sample = dataset.read(items[number])
        image = resize_image(sample.image, recipe.height, recipe.width)
        mask = resize_mask(sample.mask, recipe.height, recipe.width)
        seeds = np.random.SeedSequence((recipe.seed, int(number))).generate_state(variants)
        seen = tuple(augment(image, mask, int(seed)) for seed in seeds)
        yield PreviewRow(sample.name, image, mask, seen)


def plot_preview(path: Path, labels: LabelSet, rows: Sequence[PreviewRow], title: str) -> None:
    """A row for each image: the image, its labels over it, and its variants with theirs, all at one scale.

    What no loss and no metric counts, void as well as the border of a zoomed-out variant, is striped.

    Args:
        path: PNG file.
        labels: Names and colours.
        rows: What is shown, at least one.
        title: Above all of it.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    height, width = rows[0].mask.shape
    widths = [width, width, *(mask.shape[1] for _, mask in rows[0].variants)]
    across = _COLUMN_INCHES * sum(widths) / width
    down = len(rows) * (_COLUMN_INCHES * height / width + 0.06) + 0.32 * -(-len(labels) // 6) + 0.75
    with new_figure(path, across, down, rows=len(rows), columns=len(widths), widths=widths) as (figure, grid):
        for axes, row in zip(grid, rows, strict=True):
            _draw_row(axes, row, labels)
        for axes, name in zip(
            grid[0], ("image", "labels; ignored: striped", "as training sees it"), strict=False
        ):
            axes.set_title(name, fontweight="normal")
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
        class_legend(figure, labels)


def _draw_row(axes: Sequence[Axes], row: PreviewRow, labels: LabelSet) -> None:
    marked = [_marked(image, mask, labels) for image, mask in ((row.image, row.mask), *row.variants)]
    for panel, picture in zip(axes, (row.image, *marked), strict=True):
        panel.imshow(picture, interpolation="antialiased")
        panel.set_axis_off()
        panel.set_anchor("N")
    caption(axes[0], row.name)


def _marked(image: Image, mask: Mask, labels: LabelSet) -> Image:
    """The image with its classes over it, and stripes where it is ignored."""
    picture = draw_overlay(image, mask, labels, _ALPHA, legend=False)
    rows, columns = np.indices(mask.shape)
    stripes = np.where((rows + columns) // _STRIPE % 2, _LIGHT, _DARK).astype(np.uint8)
    ignored = mask == labels.ignore_index
    picture[ignored] = (0.3 * image[ignored] + 0.7 * stripes[ignored, None]).astype(np.uint8)
    return picture
