"""From a campaign's work folder to a committed data set, with its provenance and its noise floor."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
from stowplan_fleet import descriptors
from stowplan_fleet.devices import CpuDevice
from stowplan_fleet.slices import parse_slice

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.measuring import devices, networks, optimizers, structures
from stowplan_predictor.measuring.references import Reference
from stowplan_predictor.training.campaigns import isolated_plans, provenances
from stowplan_predictor.training.campaigns.results import Results
from stowplan_predictor.training.data import datasets
from stowplan_predictor.training.data.rows import StructureRow
from stowplan_predictor.training.generated import kinds
from stowplan_predictor.training.zoo import entries as zoo


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


def structure_rows(work: Path, names: Iterable[str]) -> list[StructureRow]:
    """Exported networks as data sets hold them.

    Raises:
        DatasetRefused: one is no network of the zoo any more.
    """
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


def folds() -> dict[str, int]:
    """Fold of each family and of each configuration of the random generators, each kind dealt by itself."""
    found = zoo.folds()
    for kind in kinds.KINDS:
        found |= zoo.dealt(kinds.configurations(kind))
    return found


def assemble(work: Path, results: Results, root: Path) -> str:
    """Writes `root/<device>/` and `root/splits.json`; returns one line about it.

    Raises:
        DatasetRefused: a result is malformed.
    """
    collected, failed = results.collect()
    rows: dict[str, list[Any]] = dict(collected)
    failed |= {f"export__{name}": reason for name, reason in left_out(work).items()}
    device_file = (work / "device.json").read_bytes()
    device = descriptors.read_device(device_file)
    if not isinstance(device, CpuDevice):
        raise DatasetRefused(f"{work}/device.json: {device.name} is no CPU; this campaign measures CPUs")
    folder = root / device.name
    stored = {row.network for table in ("networks", "loads", "pairs") for row in rows[table]} | {row.tenant for row in rows["pairs"]}
    tables: dict[str, Any] = {"structures": structure_rows(work, stored), **rows}
    for table, given in tables.items():
        datasets.write_rows(folder / f"{table}.parquet", given, datasets.TABLES[table])
    (folder / "device.json").write_bytes(device_file)
    spreads = json.loads((work / "spreads.json").read_text(encoding="utf-8"))
    told = provenances.provenance(device, tables, failed, spreads)
    datasets.write_provenance(folder, told | {"isolated_rounds": isolated_plans.provenance(work)})
    splits = {"folds": folds(), "light_families": sorted(zoo.light_families())}
    (root / "splits.json").write_text(json.dumps(splits, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return f"{folder}: " + ", ".join(f"{len(given)} {table}" for table, given in tables.items())
