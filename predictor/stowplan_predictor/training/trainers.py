"""Trains the shipped bundle from committed data sets: `python -m stowplan_predictor.training.trainers`.

Deterministic: the same data, code and library versions give the same bytes. Every figure in the manifest comes from families that the judged model did not
see; the light models are judged by a model trained without their families, while the bundle itself learns from all but the light models.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from stowplan_fleet import descriptors

from stowplan_predictor.bundles.loading import COLOCATION, CPU_RUNTIME, DEVICES, KERNELS, NETWORKS, RESPONSE, load_bundle
from stowplan_predictor.bundles.manifests import canonical, digest
from stowplan_predictor.bundles.writing import write_bundle
from stowplan_predictor.kernels.regressors import KernelRegressors
from stowplan_predictor.training import baselines, judgements, kernel_fits, load_fits, network_fits, pair_fits
from stowplan_predictor.training.datasets import Dataset, read_dataset, read_splits
from stowplan_predictor.training.network_fits import Case, Judged
from stowplan_predictor.training.regressions import Recipe
from stowplan_predictor.training.samples import Sample, Samples, samples

NAME: Final = "stowplan-cpu"
_PACKAGE: Final = Path(__file__).resolve().parent.parent
# Code that decides what a bundle holds: its digest tells by which sources it was made.
_CODE: Final = ("graphs", "fusion", "kernels", "colocation", "response")
_TRAINING_CODE: Final = ("samples", "regressions", "kernel_fits", "network_fits", "pair_fits", "load_fits", "baselines", "scores", "judgements", "trainers")

Recipes = Mapping[str, tuple[Recipe, float]]


@dataclass(frozen=True, slots=True)
class Trained:
    """Everything a bundle is written from."""

    files: Mapping[str, bytes]
    errors: Mapping[str, Any]


def code_digest() -> str:
    """Digest of the sources that training and prediction run through."""
    sources = sorted(path for folder in _CODE for path in (_PACKAGE / folder).rglob("*.py"))
    sources += [_PACKAGE / "training" / f"{name}.py" for name in _TRAINING_CODE]
    joined = b"".join(str(path.relative_to(_PACKAGE)).encode() + b"\0" + path.read_bytes() + b"\0" for path in sources)
    return f"sha256:{hashlib.sha256(joined).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Crossed:
    """Every network judged by kernel regressors that never saw its family's fold."""

    cases: Sequence[Case]
    regressors: Mapping[int, KernelRegressors]
    """By the fold they have not seen."""

    @property
    def known(self) -> list[Case]:
        """Those that can be judged."""
        return [case for case in self.cases if case.efficiencies is not None]


def _cross_fitted(train: Sequence[Sample], folds: Mapping[str, int], recipes: Recipes) -> Crossed:
    found: list[Case] = []
    regressors: dict[int, KernelRegressors] = {}
    numbers = sorted({folds[sample.family] for sample in train})
    parts = [kernel_fits.kernel_rows([sample for sample in train if folds[sample.family] != number]) for number in numbers]
    for number, fit in zip(numbers, kernel_fits.fit_many(parts, recipes), strict=True):
        regressors[number] = fit.regressors()
        found += network_fits.cases([sample for sample in train if folds[sample.family] == number], folds, regressors[number])
    return Crossed(found, regressors)


def _judge_light(everyone: Samples, train: Sequence[Sample], folds: Mapping[str, int]) -> dict[str, Any]:
    """The light models, by models that never saw their families."""
    light = [sample for sample in everyone.networks.values() if sample.split == "light"]
    families = {sample.family for sample in light}
    strangers = [sample for sample in train if sample.family not in families]
    # Which kind of regressor serves a kernel type is chosen without them as well.
    recipes = kernel_fits.recipes_for(kernel_fits.kernel_rows(strangers), folds)
    fit = kernel_fits.fit_kernels(kernel_fits.kernel_rows(strangers), recipes)
    regressors = fit.regressors()
    known = _cross_fitted(strangers, folds, recipes).known
    table = network_fits.fit_networks(known, network_fits.held_out(known))
    # One fold for all: they are judged together, by what was learned without any of them.
    cases = network_fits.cases(light, dict.fromkeys(families, -1), regressors)
    judged = [network_fits.predict(case, table) for case in cases if case.efficiencies is not None]
    floor = baselines.flops_regression([*known, *cases])[len(known) :]
    flops_ms = {(case.sample.name, case.slice): value for case, value in zip(cases, floor, strict=True)}
    refused = {f"{case.sample.name} on {case.slice}": case.refusal for case in cases if case.efficiencies is None}
    found = judgements.light(judged, refused, flops_ms)
    held = [
        interval.lower <= item.log_residual <= interval.upper
        for item in judged
        if (interval := table.intervals.get(str(item.case.measured.slice_.millicores))) is not None
    ]
    found["interval_coverage_percent"] = round(100 * float(np.mean(held)), 1) if held else None
    return found


def _kernel_errors(rows: kernel_fits.KernelRows, folds: Mapping[str, int], recipes: Recipes) -> dict[str, Any]:
    predicted = {}
    for name in sorted(set(rows.types) & recipes.keys()):
        own = rows.only(rows.of_type(name))
        predicted[name] = kernel_fits.judge(own, recipes[name][0], folds)
    return judgements.kernels(rows, predicted, {name: recipes[name][0].name for name in predicted})


def train(dataset: Dataset, device_json: bytes, folds: Mapping[str, int], say: Callable[[str], None]) -> Trained:
    """Fits and judges every stage.

    Raises:
        ValueError: the data set is too small for a stage.
    """
    device = descriptors.read_device(device_json)
    everyone = samples(dataset, device)
    train_set = [sample for sample in everyone.networks.values() if sample.split != "light"]
    say(f"{len(train_set)} networks to learn from, {len(everyone.networks) - len(train_set)} light models, {len(everyone.refused)} refused")
    rows = kernel_fits.kernel_rows(train_set)
    recipes = kernel_fits.recipes_for(rows, folds)
    profiles = [item for sample in train_set for item in sample.measured.values() if item.kernel_ms is not None and not item.slice_.fractional]
    agreeing = sum(item.profile_agrees for item in profiles)
    say(f"{agreeing} of {len(profiles)} kernel profiles agree with the unprofiled run")
    say(f"{len(rows.types)} kernels of {len(set(rows.types))} types, {len(recipes)} regressors")
    crossed = _cross_fitted(train_set, folds, recipes)
    known = crossed.known
    say(f"{len(known)} of {len(crossed.cases)} cases judged by models that never saw their families")
    held_out: list[Judged] = network_fits.held_out(known)
    networks = network_fits.fit_networks(known, held_out)

    def alone(network: str, slice_: str) -> Judged | None:
        sample = everyone.networks.get(network)
        if sample is None or slice_ not in sample.measured:
            return None
        case = network_fits.case(sample, slice_, folds, crossed.regressors[folds[sample.family]])
        return network_fits.predict(case, networks) if case.efficiencies is not None else None

    pair_fit = pair_fits.fit_pairs(pair_fits.pairs(dataset.pairs, alone, folds, device), networks.intervals)
    response, load_cases = load_fits.fit_loads(dataset.loads, [row for row in dataset.networks if row.network in {s.name for s in train_set}])
    say("co-location and response time fitted; judging")
    fit = kernel_fits.fit_kernels(rows, recipes)
    files = {
        **fit.files,
        KERNELS: canonical(asdict(fit.table)),
        NETWORKS: canonical(asdict(networks)),
        COLOCATION: canonical(asdict(pair_fit.table)),
        RESPONSE: canonical(asdict(response)),
        f"{DEVICES}/{device.name}.json": device_json,
    }
    errors = {
        "profiles": {
            "taken": len(profiles),
            "used": agreeing,
            "unmatched_percent": round(100 * sum(item.unmatched_ms for item in profiles) / sum(item.profiled_ms for item in profiles), 2),
        },
        "networks": judgements.networks(crossed.cases, held_out, everyone),
        "light": _judge_light(everyone, train_set, folds),
        "kernels": _kernel_errors(rows, folds, recipes),
        "colocation": judgements.colocation(pair_fit),
        "response": judgements.loads(load_cases, {name: row.family for name, row in dataset.structures.items()}),
    }
    return Trained(files, errors)


def _provenance(folder: Path, dataset: Dataset) -> dict[str, Any]:
    tables = sorted(path for path in folder.iterdir() if path.suffix in {".parquet", ".json"})
    return {
        "datasets": {dataset.device: {"measured": dict(dataset.provenance), "files": {path.name: digest(path.read_bytes()) for path in tables}}},
        "code": code_digest(),
        "versions": {name: version(name) for name in ("numpy", "onnx", "scikit-learn", "stowplan")},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains and writes a bundle; exit status 0 done, 1 the data cannot carry one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, help="a folder datasets/<device>; the only one under --datasets where not given")
    parser.add_argument("--datasets", type=Path, default=Path("datasets"))
    parser.add_argument("--output", type=Path, default=_PACKAGE / "shipped" / CPU_RUNTIME)
    chosen = parser.parse_args(arguments)

    def say(text: str) -> None:
        sys.stderr.write(text + "\n")

    folders = [chosen.dataset] if chosen.dataset else sorted(path.parent for path in chosen.datasets.glob("*/provenance.json"))
    if len(folders) != 1:
        say(f"{chosen.datasets}: {len(folders)} data sets; name one with --dataset")
        return 1
    dataset = read_dataset(folders[0])
    device_json = (folders[0] / "device.json").read_bytes()
    trained = train(dataset, device_json, read_splits(chosen.datasets / "splits.json"), say)
    label = write_bundle(chosen.output, name=NAME, runtime=CPU_RUNTIME, files=trained.files, provenance=_provenance(folders[0], dataset), errors=trained.errors)
    bundle = load_bundle(chosen.output)
    say(f"{chosen.output}: {bundle.manifest.name}@{label}")
    sys.stdout.write(json.dumps(trained.errors["light"]["all"], indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
