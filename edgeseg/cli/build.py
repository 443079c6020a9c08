"""``edgeseg build``: the TensorRT engine of a bundle, built on the device that runs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeseg.cli.options import BundleArgument, PrecisionOption, TrustedKeysOption

if TYPE_CHECKING:
    from edgeseg.bundle import Bundle, ModelFile
    from edgeseg.runtimes.tensorrt import Prepared


def build(
    bundle: BundleArgument,
    precision: PrecisionOption = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder for engines, in its 'engines'.  [default: $EDGESEG_CACHE, ~/.cache/edgeseg]"
        ),
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build although there is an engine that fits.")
    ] = False,
    require_signature: TrustedKeysOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
) -> None:
    """Build the TensorRT engine ahead of the first run, and keep it if the golden frames pass.

    The engine belongs to this GPU and this TensorRT. It is kept outside of the bundle, which stays as it is.
    """
    import shlex

    from edgeseg.bundle import Bundle
    from edgeseg.cli.console import console, done, print_json

    opened = Bundle.open(bundle, require_signature or None)
    with console.status("building the engine"):
        model, prepared = _prepare(opened, precision, cache, rebuild)
    values = _values(opened, model, prepared)
    prepared.model.close()
    if json:
        print_json(values)
    else:
        console.print(_sentence(values), soft_wrap=True, markup=False)
    variable = [f"EDGESEG_CACHE={shlex.quote(str(cache))}"] if cache else []
    chosen = ["--precision", precision] if precision else []
    command = ["edgeseg", "run", str(bundle), *chosen, "--source", "/dev/video0"]
    done(str(prepared.path), " ".join([*variable, shlex.join(command)]))


def _prepare(
    bundle: Bundle, precision: str | None, cache: Path | None, rebuild: bool
) -> tuple[ModelFile, Prepared]:
    from typing import cast

    from edgeseg.runtimes.choice import choose_model
    from edgeseg.runtimes.tensorrt import TensorRT
    from edgeseg.runtimes.tensorrt.runtime import FOLDER

    factory, model = choose_model(bundle, TensorRT.name, precision)
    runtime = cast(TensorRT, factory)
    if cache:
        runtime = runtime.keeping_in(cache / FOLDER)
    return model, runtime.prepare(bundle, model, rebuild=rebuild)


def _values(bundle: Bundle, model: ModelFile, prepared: Prepared) -> dict[str, Any]:
    return {
        "bundle": bundle.manifest.name,
        "digest": bundle.digest,
        "model": model.file,
        "precision": model.precision,
        "engine": str(prepared.path),
        "built": prepared.built,
        "seconds": round(prepared.seconds, 2),
        "cuda_graph": prepared.model.uses_graph,
    }


def _sentence(values: dict[str, Any]) -> str:
    what = "built and tested on the golden frames" if values["built"] else "there was one already"
    graph = "" if values["cuda_graph"] else ", without a CUDA graph"
    return f"Engine:  {values['model']}, {what}, {values['seconds']:.1f} s{graph}"
