"""One HTML page of how an int8 file came about: each way that was tried, and what each layer loses.

It needs no network and no other file, and lies beside the bundle, whose own set of files is closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.atomic import write_text
from edgeseg.errors import MissingExtraError
from edgeseg.export.converter import EXTRA

if TYPE_CHECKING:
    from edgeseg.bundle.manifest import Calibration
    from edgeseg.export.attempts import Climb
    from edgeseg.export.parity import Budget

_TEMPLATES = Path(__file__).parent / "templates"


def page_path(destination: Path) -> Path:
    """Where the page of a bundle goes."""
    return destination.with_name(f"{destination.stem}.int8.html")


def write_page(
    destination: Path, climbs: Mapping[str, Climb], budget: Budget, calibration: Calibration
) -> Path:
    """Write the page of a bundle, and give its path.

    Args:
        destination: The bundle's folder; the page lies beside it.
        climbs: What was tried, by the format's name.
        budget: What might be lost.
        calibration: What the ranges come from.

    Raises:
        MissingExtraError: Jinja is not installed.
        OutputError: The page cannot be written.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError.of("the page of int8", "jinja2", EXTRA) from error
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = page_path(destination)
    text = environment.get_template("int8.html.j2").render(
        name=destination.stem,
        climbs=climbs,
        budget=budget,
        calibration=calibration,
        keras=next(iter(climbs.values())).chosen.comparison.keras_miou,
        most_lost=max(0.01, *(a.drop_points for climb in climbs.values() for a in climb.attempts)),
        most_damage=max([0.0001, *(one.damage for climb in climbs.values() for one in climb.damages)]),
    )
    write_text(page, text)
    return page
