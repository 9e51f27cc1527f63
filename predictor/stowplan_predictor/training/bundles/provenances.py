"""Where a bundle comes from: digests of the data and of the code that decided what it holds, and the graphs it learned from."""

from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from stowplan_predictor.bundles.manifests import digest
from stowplan_predictor.training.data.folds import LIGHT
from stowplan_predictor.training.harness import units
from stowplan_predictor.training.harness.worlds import World

# Code that decides what a bundle holds and how it is read, as paths below the predictor's package.
_CODE: Final = (
    "graphs", "fusion", "kernels", "colocation", "response", "training/kernels", "training/networks", "training/bundles/trainers.py",
    "training/bundles/stages.py", "training/sharing/load_fits.py", "training/sharing/pair_fits.py",
    *(f"training/data/{name}.py" for name in (
        "agreements", "folds", "kernel_types", "measurements", "profiled_kernels", "profiler_overheads", "sample_jobs", "samples"
    )),
)  # fmt: skip
_VERSIONED: Final = ("numpy", "onnx", "scikit-learn", "torch", "torch-geometric", "stowplan")
# Hexadecimal digits of a graph's digest: enough for a hundred thousand graphs.
_DIGITS: Final = 12


def code_digest() -> str:
    """`sha256:<hex>` of the code that training and prediction run through."""
    return f"sha256:{units.code_digest(_CODE)}"


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
