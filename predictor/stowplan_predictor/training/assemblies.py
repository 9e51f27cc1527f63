"""From a campaign's work folder to a committed data set, with its provenance and its noise floor."""

import importlib.metadata
import json
import platform
import statistics
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import onnx
from stowplan_fleet import descriptors
from stowplan_fleet.slices import parse_slice

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.measuring import devices, networks, noises, optimizers, references, structures
from stowplan_predictor.measuring.references import Reference
from stowplan_predictor.training import datasets, plans, zoo
from stowplan_predictor.training.results import Results
from stowplan_predictor.training.rows import KernelRow, LoadRow, NetworkRow, PairRow, StructureRow

_VERSIONED: Final = ("stowplan", "onnxruntime", "onnx", "numpy", "torch", "torchvision", "timm", "transformers")


def keep_structure(work: Path, entry: zoo.Entry, path: Path, source: str) -> None:
    """Keeps what a data set must know of an exported network: structure, optimised structure, inputs, where it comes from and where its file is.

    Raises:
        RuntimeRefused: the runtime cannot load the network.
    """
    target = work / "structures" / f"{entry.name}.json"
    packed = target.with_suffix(".onnx.gz")
    optimized = OptimizedFolder(work)
    if not optimized.read(entry.name):
        target.parent.mkdir(parents=True, exist_ok=True)
        optimized.keep(entry.name, optimizers.optimized_structure(path))
    if target.exists() and packed.exists():
        return
    stripped = structures.strip_weights(path.read_bytes())
    graph = onnx.load_model_from_string(stripped).graph
    parameters = {tensor.name for tensor in graph.initializer}
    inputs = {value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim] for value in graph.input if value.name not in parameters}
    packed.write_bytes(structures.pack(stripped))
    record = {"source": source, "file": str(path), "inputs": inputs}
    temporary = target.with_suffix(".tmp")
    temporary.write_text(json.dumps(record), encoding="utf-8")
    temporary.replace(target)


@dataclass(frozen=True, slots=True)
class OptimizedFolder:
    """The runtime's versions of networks in a work folder; they depend on the CPU, not on the slice."""

    work: Path

    def read(self, network: str) -> bytes:
        """The stripped optimised model, or nothing where it is not known yet."""
        path = self._path(network)
        return structures.unpack(path.read_bytes()) if path.exists() else b""

    def keep(self, network: str, optimized: bytes) -> None:
        """Keeps one, whole or not at all."""
        temporary = self._path(network).with_suffix(".tmp")
        temporary.write_bytes(structures.pack(optimized))
        temporary.replace(self._path(network))

    def _path(self, network: str) -> Path:
        return self.work / "structures" / f"{network}.optimized.gz"


def left_out(work: Path) -> dict[str, str]:
    """Why networks could not be exported, by name."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted((work / "left_out").glob("*.txt"))}


def keep_left_out(work: Path, name: str, reason: str) -> None:
    """Keeps why a network could not be exported; it is not tried again until its file is deleted."""
    (work / "left_out").mkdir(parents=True, exist_ok=True)
    (work / "left_out" / f"{name}.txt").write_text(reason, encoding="utf-8")


def exported(work: Path) -> dict[str, Path]:
    """Model files of the networks that are exported and that the runtime can load, by name."""
    folder = work / "structures"
    records = {path.name.removesuffix(".json"): json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    return {name: Path(record["file"]) for name, record in records.items() if Path(record["file"]).exists() and (folder / f"{name}.optimized.gz").exists()}


def survey_once(work: Path, name: str | None, say: Callable[[str], None]) -> None:
    """Measures the device, unless this campaign did already."""
    target = work / "device.json"
    if target.exists():
        return
    survey = devices.survey_device(name, wait_s=1800.0, on_wait=say)
    work.mkdir(parents=True, exist_ok=True)
    (work / "spreads.json").write_text(json.dumps(dict(survey.spreads)), encoding="utf-8")
    target.write_bytes(descriptors.write_device(survey.device))


def references_once(work: Path, slices: Sequence[str], say: Callable[[str], None]) -> dict[str, Reference]:
    """The best times of the fixed work on each slice of whole cores, measured unless this campaign did already."""
    target = work / "references.json"
    if not target.exists():
        best = {part: networks.best_reference(parse_slice(part), wait_s=1800.0, on_wait=say) for part in slices}
        temporary = target.with_suffix(".tmp")
        temporary.write_text(json.dumps({part: asdict(reference) for part, reference in best.items()}), encoding="utf-8")
        temporary.replace(target)
    return {part: Reference(**fields) for part, fields in json.loads(target.read_text(encoding="utf-8")).items()}


def _structures(work: Path, names: set[str]) -> list[StructureRow]:
    entries = {entry.name: entry for entry in zoo.entries()}
    rows = []
    for name in sorted(names):
        record = json.loads((work / "structures" / f"{name}.json").read_text(encoding="utf-8"))
        optimized = work / "structures" / f"{name}.optimized.gz"
        entry = entries.get(name)
        if entry is None:
            raise DatasetRefused(f"{name} was measured but is no network of the zoo any more; delete its results from {work}")
        rows.append(
            StructureRow(
                network=name,
                family=entry.family,
                split=entry.split,
                source=record["source"],
                batch=entry.batch,
                input_names=tuple(record["inputs"]),
                input_shapes=tuple(tuple(shape) for shape in record["inputs"].values()),
                structure=(work / "structures" / f"{name}.onnx.gz").read_bytes(),
                optimized=optimized.read_bytes() if optimized.exists() else b"",
            )
        )
    return rows


def noise_floor(rows: Sequence[NetworkRow], repeats: Collection[int]) -> dict[str, Any]:
    """How far the medians of independent measurements of the same network on the same slice lie from the first one, relatively."""
    first = {(row.network, row.slice): row.median_ms for row in rows if row.repeat == 0}
    changes = sorted(
        abs(row.median_ms - first[row.network, row.slice]) / first[row.network, row.slice]
        for row in rows
        if row.repeat in repeats and (row.network, row.slice) in first
    )
    if not changes:
        return {"retests": 0}
    return {"retests": len(changes), "median": statistics.median(changes), "p90": changes[int(0.9 * (len(changes) - 1))], "max": changes[-1]}


def _provenance(work: Path, device: Any, rows: Mapping[str, Sequence[Any]], failed: Mapping[str, str]) -> dict[str, Any]:  # noqa: ANN401
    measured = sorted(row.measured_at for table in ("networks", "pairs", "loads") for row in rows[table])
    spreads = work / "spreads.json"
    return {
        "host": platform.node(),
        "cpu": device.model,
        "cores": device.cores,
        "system": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
        "versions": {package: importlib.metadata.version(package) for package in _VERSIONED},
        "date": {"first": measured[0], "last": measured[-1]} if measured else {},
        "protocol": {
            "runtime": "onnxruntime, CPUExecutionProvider, ORT_ENABLE_ALL, inter-operator threads 1, intra-operator threads = cores of the slice",
            "placement": "fresh process pinned to the last cores; a CFS quota (period 100 ms) and no spinning where the slice is fractional",
            "limit_foreign_and_steal": noises.LIMIT,
            "limit_cv": networks.MAX_CV,
            "attempts": networks.MAX_ATTEMPTS,
            "limit_product_slowdown": references.MAX_PRODUCT_SLOWDOWN,
            "limit_copy_slowdown": references.MAX_COPY_SLOWDOWN,
            "weights": "random: times, not accuracy, are the matter",
        },
        "rows": {table: len(given) for table, given in rows.items()},
        "noisy": {table: sum(row.noisy for row in rows[table]) for table in ("networks", "pairs", "loads")},
        "test_retest": {part: noise_floor([row for row in rows["networks"] if row.slice == part], {1}) for part in plans.WHOLE},
        "unbracketed_retest": {part: noise_floor([row for row in rows["networks"] if row.slice == part], {2, 3}) for part in plans.WHOLE},
        "device_spreads": json.loads(spreads.read_text(encoding="utf-8")) if spreads.exists() else {},
        "left_out": dict(failed),
    }


def assemble(work: Path, results: Results, root: Path) -> str:
    """Writes `root/<device>/` and `root/splits.json`; returns one line about it.

    Raises:
        DatasetRefused: a result is malformed.
    """
    rows, failed = results.collect()
    failed |= {f"export__{name}": reason for name, reason in left_out(work).items()}
    device_file = (work / "device.json").read_bytes()
    device = descriptors.read_device(device_file)
    folder = root / device.name
    named = {row.network for table in rows.values() for row in table} | {row.tenant for row in rows["pairs"] if isinstance(row, PairRow)}
    tables: dict[str, Any] = {"structures": _structures(work, named), **rows}
    datasets.write_rows(folder / "structures.parquet", tables["structures"], StructureRow)
    datasets.write_rows(folder / "networks.parquet", tables["networks"], NetworkRow)
    datasets.write_rows(folder / "kernels.parquet", tables["kernels"], KernelRow)
    datasets.write_rows(folder / "pairs.parquet", tables["pairs"], PairRow)
    datasets.write_rows(folder / "loads.parquet", tables["loads"], LoadRow)
    (folder / "device.json").write_bytes(device_file)
    datasets.write_provenance(folder, _provenance(work, device, tables, failed))
    splits = {"folds": zoo.folds(), "light_families": sorted(zoo.light_families())}
    (root / "splits.json").write_text(json.dumps(splits, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return f"{folder}: " + ", ".join(f"{len(given)} {table}" for table, given in tables.items())
