"""Where a bundle comes from: digests of the data and of the code that decided what it holds, and the graphs it learned from."""

import ast
import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from stowplan_predictor.bundles.manifests import digest
from stowplan_predictor.training.data.folds import LIGHT
from stowplan_predictor.training.harness.worlds import World

_PACKAGE: Final = Path(__file__).resolve().parents[2]
# Code that decides what a bundle holds and how it is read.
_CODE: Final = ("graphs", "fusion", "kernels", "colocation", "response")
_TRAINING_CODE: Final[Mapping[str, tuple[str, ...]]] = {
    "bundles": ("trainers",),
    "data": ("folds", "kernel_types", "measurements", "profiled_kernels", "profiler_overheads", "samples"),
    "kernels": (
        "boosted_trees",
        "graph_batches",
        "graph_fits",
        "graph_networks",
        "models",
        "network_rows",
        "regressions",
        "rows",
        "tree_files",
        "type_regressors",
    ),
    "networks": ("candidates", "cases", "cross_fits", "dispatch_fits", "fits", "kernel_systems", "novelty_fits", "residual_fits"),
    "sharing": ("load_fits", "pair_fits"),
}
_VERSIONED: Final = ("numpy", "onnx", "scikit-learn", "torch", "torch-geometric", "stowplan")
# Hexadecimal digits of a graph's digest: enough for a hundred thousand graphs.
_DIGITS: Final = 12


def _meaning(source: bytes) -> bytes:
    """A module without comments, layout and docstrings: what they say changes nothing that it computes."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [item for item in node.body if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))]
    return ast.dump(tree, include_attributes=False).encode()


def code_digest() -> str:
    """`sha256:<hex>` of the sources that training and prediction run through."""
    sources = sorted(path for folder in _CODE for path in (_PACKAGE / folder).rglob("*.py"))
    sources += [_PACKAGE / "training" / package / f"{name}.py" for package, names in _TRAINING_CODE.items() for name in names]
    found = hashlib.sha256()
    for path in sources:
        found.update(str(path.relative_to(_PACKAGE)).encode() + b"\0" + _meaning(path.read_bytes()) + b"\0")
    return f"sha256:{found.hexdigest()}"


def data_files(folder: Path) -> dict[str, str]:
    """Digests of the files a bundle is trained from: every measured table and the descriptor of the device."""
    found = {path.name: digest(path.read_bytes()) for path in sorted(folder.glob("*.parquet"))}
    return {**found, "device.json": digest((folder / "device.json").read_bytes())}


def provenance(world: World) -> dict[str, Any]:
    """What a manifest says of where its bundle comes from."""
    trained = [sample for sample in world.samples.networks.values() if sample.split != LIGHT]
    graphs = sorted({sample.digest.partition(":")[2] for sample in trained})
    return {
        "datasets": {world.dataset.device: {"measured": dict(world.dataset.provenance), "files": data_files(world.folder), "data": world.data}},
        "trained_on": {
            world.dataset.device: {
                "data": world.data,
                "families": sorted({sample.family for sample in trained}),
                "networks": digest("\n".join(graphs).encode()),
                "graphs": [graph[:_DIGITS] for graph in graphs],
            }
        },
        "seed": world.seed,
        "code": code_digest(),
        "versions": {name: version(name) for name in _VERSIONED},
    }
