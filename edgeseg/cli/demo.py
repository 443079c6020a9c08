"""``edgeseg demo``: the whole way, on street scenes that it draws itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(help="Folder; an earlier demo in it is replaced.")] = Path("runs/demo"),
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of training.")] = 12,
    scenes: Annotated[int, typer.Option(min=8, help="Training scenes; a quarter as many validate.")] = 240,
    seed: Annotated[int, typer.Option(min=0, help="Of the scenes and of the training.")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="Threads of one inference.")] = 2,
) -> None:
    """Draw scenes, train, evaluate, export, verify, benchmark, run the loop; leave a report and a video.

    A few minutes on two cores. Every step is what its verb does, and says the command for it.
    """
    import time

    from edgeseg.cli.console import console, done
    from edgeseg.cli.demo_report import report_of
    from edgeseg.cli.demo_steps import Demo

    started = time.monotonic()
    run = Demo(out, epochs=epochs, scenes=scenes, seed=seed, threads=threads)
    run.make_folder()
    trained = run.train()
    run.evaluate(trained)
    bundles = run.export(trained)
    run.verify(trained, bundles)
    benchmark = run.benchmark(bundles)
    loops = run.loop(bundles)
    page = report_of(run, trained, bundles, benchmark, loops)
    console.print(f"Done in {(time.monotonic() - started) / 60:.1f} minutes.")
    console.print(f"Video:   {run.video}", soft_wrap=True, markup=False)
    done(page, "edgeseg train --data camvid:PATH   # or cityscapes8:PATH, folder:PATH: edgeseg data --help")
