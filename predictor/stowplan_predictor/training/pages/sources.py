"""Everything that `docs/accuracy.md` is rendered from, read off the disk: measured data, committed predictions and judgements, the bundle's manifest."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stowplan_predictor.bundles import loading
from stowplan_predictor.bundles.loading import CPU_RUNTIME
from stowplan_predictor.bundles.manifests import MANIFEST, Manifest, digest, read_manifest
from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.training.data.datasets import Dataset, read_rows, read_splits
from stowplan_predictor.training.data.generated_rows import RandomRow
from stowplan_predictor.training.data.rows import NetworkRow, StructureRow
from stowplan_predictor.training.judgements.parts import FusionJudgement, KernelJudgement, TypeJudgement, read_judgements
from stowplan_predictor.training.judgements.predictions import PredictionRow, check_current, data_digest, read_all
from stowplan_predictor.training.pages.bars import SERVED
from stowplan_predictor.training.pages.truths import Case, Truth, truths

SPLITS_FILE: Final = "splits.json"
CALIBRATION: Final = "judgements/calibration.json"
_PROVENANCE: Final = "provenance.json"
# Systems in the order of the table, with the words that name them there; others follow by their own name.
SYSTEMS: Final[Mapping[str, str]] = {
    "mean": "mean latency",
    "linear": "linear regression on FLOPs and parameters",
    "rules-forests": "fusion rules, a random forest a kernel type, summed",
    "gcn": "GCN on the graph",
    "dnn": "DNN on flattened attributes and adjacency",
    "transformer": "graph-informed transformer",
    "trees": "kernels, a regressor a type",
    "boosted": "kernels, boosted trees on the GNN's features",
    "boosted-sum": "the same, nothing learned end to end",
    "gnn": "kernels, GNN",
    "gnn-sum": "the same, nothing learned end to end",
    "gnn-raw": "kernels, GNN on raw latency, nothing end to end",
    "forests": "kernels, a random forest a type",
    "blend": "kernels, GNN and boosted trees blended",
    "forests-gnn": "kernels, GNN and forests blended",
    "forests-boosted": "kernels, boosted trees and forests blended",
    "forests-boosted-gnn": "kernels, GNN, boosted trees and forests blended",
    SERVED: "**stowplan** (what the bundle serves)",
    "measured kernels": "*oracle: its profiled kernels, summed*",
    "measured again": "*noise: half of the visits by the other half*",
}


# Those that the papers describe, and the trivial ones: what ours is held against.
RIVALS: Final = ("mean", "linear", "rules-forests", "gcn", "dnn", "transformer")


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of it."""

    device: str
    provenance: Mapping[str, Any]
    """Of the data set."""
    truths: Mapping[Case, Truth]
    predictions: Mapping[str, Mapping[Case, PredictionRow]]
    """By system, in the order of the table."""
    fusion: tuple[FusionJudgement, ...]
    types: tuple[TypeJudgement, ...]
    kernels: tuple[KernelJudgement, ...]
    manifest: Manifest
    """Of the shipped bundle."""
    bundle_is_current: bool
    """Whether it was trained on the data set as it is now."""
    fusion_served: str
    """Which way of fusing it serves."""
    calibration: Mapping[str, Any]
    """What `calibration.checks` found; empty where nobody looked."""

    @property
    def kernels_served(self) -> str:
        """Which kernel system the bundle serves."""
        return str(self.manifest.models["kernels"]["system"])


def dataset_folder(datasets: Path, named: Path | None = None) -> Path:
    """The named data set, or the only one there is.

    Raises:
        DatasetRefused: there is none, or several and none is named.
    """
    if named is not None:
        if not (named / _PROVENANCE).is_file():
            raise DatasetRefused(f"{named}: no data set here (a directory with {_PROVENANCE}); name another, or measure one with `make dataset`")
        return named
    found = sorted(path.parent for path in datasets.glob(f"*/{_PROVENANCE}"))
    if len(found) != 1:
        there = ", ".join(folder.name for folder in found) or "none"
        raise DatasetRefused(f"{datasets}: one data set is needed, there are: {there}; name it, or measure one with `make dataset`")
    return found[0]


def _is_current(manifest: Manifest, folder: Path) -> bool:
    told = manifest.provenance.get("datasets", {}).get(folder.name, {}).get("files", {})
    tables = {name: value for name, value in told.items() if name.endswith(".parquet")}
    return bool(tables) and all((folder / name).is_file() and digest((folder / name).read_bytes()) == value for name, value in tables.items())


def shipped_folder() -> Path:
    """Where the bundle of CPUs lies that this package carries."""
    return loading.shipped_folder(CPU_RUNTIME)


def _calibration(folder: Path, data: str) -> Mapping[str, Any]:
    """What a calibration was found to be worth; empty where nobody looked.

    Raises:
        DatasetRefused: the file is malformed, or of other data.
    """
    path = folder / CALIBRATION
    if not path.exists():
        return {}
    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if found["data"] != data:
            raise DatasetRefused(f"{path}: made from other data; run `python -m stowplan_predictor.training.calibration.checks {folder}` again")
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetRefused(f"{path}: malformed ({error!r}); delete it, or make it again") from error
    return found


def _networks_only(folder: Path) -> Dataset:
    """A data set without the tables that only training reads: they are large, and a check of the page shall be quick."""
    try:
        provenance = json.loads((folder / _PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetRefused(f"{folder / _PROVENANCE}: {error}; a data set without provenance is not used") from error
    structures = {row.network: row for row in read_rows(folder / "structures.parquet", StructureRow)}
    networks = read_rows(folder / "networks.parquet", NetworkRow)
    randoms = read_rows(folder / "randoms.parquet", RandomRow) if (folder / "randoms.parquet").exists() else ()
    return Dataset(folder.name, structures, networks, (), (), (), provenance, randoms)


def read_evidence(folder: Path, bundle: Path) -> Evidence:
    """Reads a data set with what was predicted of it.

    Args:
        folder: `datasets/<device>`; `splits.json` lies beside it.
        bundle: whose manifest judges pairs and loads. Only the manifest is read: the page needs no model.

    Raises:
        DatasetRefused: a file is missing or malformed, predictions were made from other data, or the served system leaves a network out.
        BundleRefused: the manifest is malformed.
    """
    manifest = read_manifest((bundle / MANIFEST).read_bytes(), str(bundle / MANIFEST))
    splits = folder.parent / SPLITS_FILE
    data = data_digest(folder, splits)
    dataset = _networks_only(folder)
    measured = truths(dataset, read_splits(splits))
    predictions = read_all(folder)
    for name, found in predictions.items():
        check_current(found, data, measured if name == SERVED else ())
    ordered = [name for name in SYSTEMS if name in predictions] + sorted(predictions.keys() - SYSTEMS.keys())
    return Evidence(
        device=folder.name,
        provenance=dataset.provenance,
        truths=measured,
        predictions={name: {row.case: row for row in predictions[name].rows} for name in ordered},
        fusion=read_judgements(folder, FusionJudgement, data),
        types=read_judgements(folder, TypeJudgement, data),
        kernels=read_judgements(folder, KernelJudgement, data),
        manifest=manifest,
        bundle_is_current=_is_current(manifest, folder),
        fusion_served=str(manifest.models["fusion"]["system"]),
        calibration=_calibration(folder, data),
    )
