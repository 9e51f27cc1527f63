"""A data set of made-up numbers with made-up predictions, for tests of what stands around data sets. Never committed as data; nothing may learn from it."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from stowplan_fleet import descriptors
from stowplan_predictor.bundles.writing import write_bundle
from stowplan_predictor.measuring import structures
from stowplan_predictor.training.data import datasets
from stowplan_predictor.training.data.rows import KernelRow, LoadRow, NetworkRow, PairRow, StructureRow
from stowplan_predictor.training.judgements.parts import FusionJudgement, KernelJudgement, TypeJudgement, write_judgements
from stowplan_predictor.training.judgements.predictions import PredictionRow, Predictions, data_digest, write_predictions
from support.synthetic_bundles import DEVICE, RUNTIME, chain_model

FAMILIES: Final = 8
EACH: Final = 3
SLICES: Final = ("cpu:1", "cpu:2")
_QUANTILES: Final = tuple(float(point) for point in range(1, 22))


def network_row(network: str, slice_: str, repeat: int, median_ms: float) -> NetworkRow:
    """A visit that took about that long."""
    return NetworkRow(
        network=network, slice=slice_, repeat=repeat, threads=int(slice_[-1]), runs=30, warmup_runs=3, median_ms=median_ms, mean_ms=1.01 * median_ms,
        p5_ms=0.9 * median_ms, p25_ms=0.95 * median_ms, p75_ms=1.05 * median_ms, p95_ms=1.1 * median_ms, p99_ms=1.2 * median_ms, cv=0.02,
        quantiles_ms=_QUANTILES, foreign_share=0.0, steal_share=0.0, attempts=1, noisy=False, kernels_sum_ms=0.97 * median_ms, kernels_count=3,
        measured_at="2026-01-01T00:00:00Z", product_slowdown=1.0, copy_slowdown=1.0,
    )  # fmt: skip


def structure_row(network: str, family: str, split: str, model: bytes) -> StructureRow:
    """A network whose graph is that of a model."""
    shape = (1, 32, 28, 28)
    return StructureRow(network, family, split, "made up", 1, ("x",), (shape,), structures.pack(structures.strip_weights(model)), b"")


def write_tables(folder: Path, structure_rows: Iterable[StructureRow], networks: Iterable[NetworkRow]) -> None:
    """A data set of those rows, its device and its provenance."""
    datasets.write_rows(folder / "structures.parquet", structure_rows, StructureRow)
    datasets.write_rows(folder / "networks.parquet", networks, NetworkRow)
    datasets.write_rows(folder / "kernels.parquet", [], KernelRow)
    datasets.write_rows(folder / "pairs.parquet", [], PairRow)
    datasets.write_rows(folder / "loads.parquet", [], LoadRow)
    (folder / "device.json").write_bytes(descriptors.write_device(DEVICE))
    date = {"first": "2026-01-01T00:00:00Z", "last": "2026-01-02T00:00:00Z"}
    made_up = {"host": "nowhere", "cpu": "Made Up", "cores": 4, "system": "Made 1.0", "date": date, "versions": {"numpy": "0"}}
    datasets.write_provenance(folder, made_up)


def write_dataset(root: Path) -> Path:
    """`root/made-up`: zoo networks of eight families and one light model, measured twice on two slices; and `root/splits.json`. Returns its folder."""
    folder = root / "made-up"
    generator = np.random.default_rng(3)
    rows, graphs, folds = [], [], {}
    for index in range(FAMILIES * EACH + 1):
        light = index == FAMILIES * EACH
        family = "light-family" if light else f"family-{index % FAMILIES}"
        name = "light_net" if light else f"net-{index:02d}"
        if not light:
            folds[family] = index % FAMILIES % 5
        graphs.append(structure_row(name, family, "light" if light else "zoo", chain_model(convolutions=1 + index % 3, channels=32)))
        for slice_ in SLICES:
            took = float(np.exp(generator.normal(2.0, 1.0)))
            rows += [network_row(name, slice_, 10, took), network_row(name, slice_, 20, 1.04 * took)]
    write_tables(folder, graphs, rows)
    (root / "splits.json").write_text(json.dumps({"folds": folds}), encoding="utf-8")
    return folder


def predicted(folder: Path, system: str, error: float, *, held: bool = True, intervals: bool = True) -> list[PredictionRow]:
    """Predictions that are too large by a share of the truth, every second one as much too small."""
    dataset = datasets.read_dataset(folder)
    found = []
    for index, row in enumerate(row for row in dataset.networks if row.repeat == 10):
        structure = dataset.structures[row.network]
        guess = row.median_ms * (1 + error if index % 2 else 1 - error)
        width = 2 * error if held else error / 2
        ends = (guess * (1 - width), guess * (1 + width)) if intervals else (None, None)
        fold = -1 if structure.split == "light" else int(structure.family[-1]) % 5
        found.append(PredictionRow(system, structure.split, row.network, structure.family, row.slice, fold, guess, *ends))
    return found


def keep_predictions(folder: Path, rows: list[PredictionRow]) -> None:
    """Writes the predictions of one system, made from the data as it is."""
    write_predictions(folder, Predictions(rows[0].system, data_digest(folder, folder.parent / "splits.json"), tuple(rows)))


def keep_judgements(folder: Path) -> None:
    """Fusion, kernel types and kernels of the network `net-00`: its convolutions were predicted twice too long."""
    data = data_digest(folder, folder.parent / "splits.json")
    fusions = [FusionJudgement("rules", "zoo", f"net-{i:02d}", f"family-{i}", i % 5, 100, 99 + i % 2, 50, 49, 3, 1) for i in range(FAMILIES)]
    fusions += [replace(row, system="runtime", edges_right=100, kernels_right=50) for row in fusions]
    write_judgements(folder, fusions, FusionJudgement, data)
    kinds = [TypeJudgement("gnn", "zoo", f"net-{i:02d}", f"family-{i}", i % 5, 50, 48, 50) for i in range(FAMILIES)]
    write_judgements(folder, kinds, TypeJudgement, data)
    kernels = [
        KernelJudgement("stowplan", "zoo", f"net-{i:02d}", f"family-{i}", slice_, i % 5, k, f"k{k}", kind, factor * took, took)
        for i in range(FAMILIES)
        for slice_ in SLICES
        for k, (kind, took, factor) in enumerate((("Conv", 2.0, 2.0), ("Relu", 0.1, 0.5), ("Conv", 1.0, 2.0)))
    ]
    kernels.append(KernelJudgement("stowplan", "zoo", "net-00", "family-0", "cpu:1", 0, 3, "k3", "Add", 5.0, None))
    write_judgements(folder, kernels, KernelJudgement, data)


def write_manifest(folder: Path) -> Path:
    """A directory with no more of a bundle than a manifest, with judgements of pairs and loads."""
    told = {"cases": 4, "mape_percent": 5.0, "mape_low_percent": 4.0, "mape_high_percent": 6.0, "median_ape_percent": 3.0, "within_10_percent": 90.0,
            "rank_correlation": 0.5}  # fmt: skip
    floor = {"mean_slowdown": told, "no_slowdown": told}
    pairs = {"slowdown": told, "floor": floor, "service_time_beside": told, "measured_slowdown": {"median": 1.0, "largest": 1.5}}
    loads = {"formula": "a formula", "by_percentile": {"95": {**told, "floor_no_waiting": told}}}
    counts = {"fired": 1, "of": 4}
    flag = {"held_out_families": {"zoo": counts}, "types_held_out_completely": counts, "ten_times_wider": {"zoo": counts}}
    errors = {"colocation": pairs, "response": loads, "out_of_distribution": flag}
    files = {"nothing.json": b"{}"}
    write_bundle(
        folder,
        name="made-up",
        runtime=RUNTIME,
        files=files,
        models={"fusion": {"system": "rules"}, "kernels": {"system": "trees", "mean_absolute_log_error": {"trees": 0.06, "boosted": 0.07}}},
        provenance={},
        errors=errors,
    )
    return folder
