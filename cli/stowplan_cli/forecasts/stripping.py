"""`stowplan strip`: a model's structure without its weights, checked to be judged like the original."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stowplan_cli.inputs import models
from stowplan_cli.terminal import files, outputs, progresses
from stowplan_cli.terminal.exits import Refused

if TYPE_CHECKING:
    from rich.console import Console
    from stowplan_fleet.services import GraphDigest

# What the API server takes of a ConfigMap: data and all (k8s.io/api/core/v1, MaxSecretSize; etcd's own default request limit is 1.5 MiB).
_CONFIGMAP_BYTES: Final = 1 << 20


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("strip")(strip)


def strip(
    model: models.ModelArgument,
    to: Annotated[Path, typer.Argument(metavar="STRUCTURE.onnx", help="Where the structure is written.", show_default=False)],
    *,
    shapes: models.ShapeOption = None,
    force: files.ForceOption = False,
    output: outputs.OutputOption = outputs.Format.TABLE,
) -> None:
    """Drop the weights of a model; what shapes depend on stays.

    Both files are analysed and must be the same graph, or nothing is written. Dynamic dimensions need a --shape for that; the structure keeps them open.
    """
    bound = models.parse_shapes(shapes)
    files.check_free(to, force=force)
    content = models.read_model(model)
    if to.exists() and to.samefile(model):
        raise Refused(f"{to}: is the model itself; name another file")
    from stowplan_predictor.graphs.loading import model_digest

    with progresses.waiting("stripping"):
        structure, graph = stripped(content, bound)
    files.write_whole(to, structure)
    document = {
        "model": {"digest": model_digest(content), "bytes": len(content)},
        "structure": {"file": str(to), "digest": model_digest(structure), "bytes": len(structure), "fitsConfigMap": len(structure) < _CONFIGMAP_BYTES},
        "graph": str(graph),
    }
    outputs.emit(document, output, lambda console: _print(console, document))


def stripped(content: bytes, shapes: dict[str, tuple[int, ...]]) -> tuple[bytes, "GraphDigest"]:
    """The smallest structure that is the same graph, and that graph's digest.

    Raises:
        GraphRefused: the model cannot be analysed.
        Refused: without its weights it is another graph.
    """
    from stowplan_predictor.graphs import strippings
    from stowplan_predictor.graphs.loading import load_graph
    from stowplan_predictor.measuring.structures import strip_weights

    graph = load_graph(content, shapes).digest
    lean = strippings.strip(content)
    # Constants beyond a handful of elements decide no shape in exported models; where they do, they are kept as far as an analysis reads them at all.
    for structure in (strip_weights(lean), lean):
        if not _is_the_same(structure, shapes, graph):
            continue
        if len(structure) >= _CONFIGMAP_BYTES and _is_the_same(nameless := _without_names(structure), shapes, graph):
            return nameless, graph
        return structure, graph
    raise Refused("the model without its weights is another graph; its structure depends on them, so use the model itself")


def _is_the_same(structure: bytes, shapes: dict[str, tuple[int, ...]], graph: "GraphDigest") -> bool:
    from stowplan_fleet.errors import GraphRefused
    from stowplan_predictor.graphs.loading import load_graph

    try:
        return load_graph(structure, shapes).digest == graph
    except GraphRefused:
        return False


def _without_names(structure: bytes) -> bytes:
    """Nodes need no names, and exporters write whole scopes into them: a third of the structure of a network of thousands of nodes."""
    import onnx

    model = onnx.load_model_from_string(structure)
    for node in model.graph.node:
        node.ClearField("name")
    return bytes(model.SerializeToString(deterministic=True))


def _print(console: "Console", document: dict[str, Any]) -> None:
    structure = document["structure"]
    sizes = f"{outputs.counted(structure['bytes'])}B of {outputs.counted(document['model']['bytes'])}B"
    console.print(f"{structure['file']}: {sizes}, the same graph {document['graph'][:19]}", markup=False)
    fits = "fits" if structure["fitsConfigMap"] else "does not fit"
    console.print(f"{fits} a ConfigMap (1 MiB); spec.model.digest {structure['digest']}", markup=False)
