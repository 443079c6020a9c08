"""``edgeseg VERB``: the verbs, and how an error becomes one message and an exit code."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from edgeseg import __version__
from edgeseg.cli import (
    benchmark,
    benchmark_data,
    benchmark_independent,
    benchmark_label,
    benchmark_loop,
    benchmark_peers,
    benchmark_robustness,
    benchmark_roofline,
    benchmark_serve,
    benchmark_training,
    build,
    bundle,
    compare,
    dashboard,
    data,
    data_preview,
    demo,
    ensemble,
    evaluate,
    export,
    generate,
    health,
    import_weights,
    info,
    install,
    keygen,
    label,
    label_cost,
    models,
    predict,
    rollback,
    run,
    serve,
    sign,
    sweep,
    train,
    verify,
)
from edgeseg.errors import EdgesegError

EXIT_UNEXPECTED = 1
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="edgeseg",
    help="From labelled driving images to a verified segmentation model in a car's camera loop.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(train.train)
app.add_typer(compare.app, name="compare")
app.command()(sweep.sweep)
app.command()(generate.generate)
app.command()(evaluate.evaluate)
app.command()(ensemble.ensemble)
app.command()(export.export)
app.command()(bundle.bundle)
app.command()(verify.verify)
app.command()(sign.sign)
app.command()(keygen.keygen)
app.command()(install.install)
app.command()(rollback.rollback)
app.command()(build.build)
app.command()(import_weights.import_weights)
app.command()(benchmark.benchmark)
app.command("benchmark-independent")(benchmark_independent.benchmark_independent)
app.command("benchmark-peers")(benchmark_peers.benchmark_peers)
app.command("benchmark-label")(benchmark_label.benchmark_label)
app.command("benchmark-loop")(benchmark_loop.benchmark_loop)
app.command("benchmark-roofline")(benchmark_roofline.benchmark_roofline)
app.command("benchmark-robustness")(benchmark_robustness.benchmark_robustness)
app.command("benchmark-serve")(benchmark_serve.benchmark_serve)
app.command("benchmark-training")(benchmark_training.benchmark_training)
app.command()(predict.predict)
app.command()(run.run)
app.command()(serve.serve)
app.command()(label.label)
app.command("label-check")(label.label_check)
app.command("label-cost")(label_cost.label_cost)
app.command()(health.health)
data.app.command("preview")(data_preview.preview)
data.app.command("benchmark")(benchmark_data.benchmark_data)
app.add_typer(data.app, name="data")
app.command()(dashboard.dashboard)
app.command()(models.models)
app.command()(info.info)
app.command()(demo.demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgeseg {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options that stand before the verb; ``--debug`` is read by :func:`main`."""


def main() -> None:
    """Entry point: runs the verb and exits with the project's exit code."""
    debug = "--debug" in sys.argv[1:]
    if debug:
        # Wherever it stands: who meets an error adds it at the end of the line.
        sys.argv = [sys.argv[0], "--debug", *(a for a in sys.argv[1:] if a != "--debug")]
    try:
        app()
    except EdgesegError as error:
        _fail(str(error), error.exit_code, debug)
    except SystemExit as end:
        # Typer makes this of Ctrl-C, and says nothing.
        if end.code != EXIT_INTERRUPTED:
            raise
        _fail("interrupted", EXIT_INTERRUPTED, debug)
    except Exception as error:
        hint = "This is a fault of edgeseg: add --debug and report what it shows."
        _fail(f"{type(error).__name__}: {error}\n{hint}", EXIT_UNEXPECTED, debug)


def _fail(message: str, code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    sys.stderr.write(f"edgeseg: error: {message}\n")
    raise SystemExit(code)
