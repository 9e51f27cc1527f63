"""Trains the served bundle from a committed data set: `stowplan train`, at most half an hour on two cores.

Every kernel system that may be served is fitted on each fold (units that `make rivals` shares, and that a run which was stopped finds again); the best on
held-out families is chosen, whole networks are fitted on what those units say, and the chosen system is fitted once more on everything but the light models.
Deterministic: the same data, code and library versions give the same bundle. Figures in the manifest come from models that did not see the judged families.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from threadpoolctl import threadpool_limits

from stowplan_predictor.bundles.loading import COLOCATION, CPU_RUNTIME, DEVICES, FUSION, NETWORKS, RESPONSE, load_bundle
from stowplan_predictor.bundles.manifests import canonical
from stowplan_predictor.bundles.writing import write_bundle
from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.fusion.tables import FusionTable
from stowplan_predictor.kernels.intervals import LogInterval, conformal
from stowplan_predictor.training.bundles import errors as bundle_errors
from stowplan_predictor.training.bundles import provenances as bundle_provenances
from stowplan_predictor.training.data.folds import LIGHT, LIGHT_FOLD
from stowplan_predictor.training.data.samples import Sample
from stowplan_predictor.training.harness import runners
from stowplan_predictor.training.harness.systems import Content
from stowplan_predictor.training.harness.units import Units, default_work
from stowplan_predictor.training.harness.worlds import World, read_world
from stowplan_predictor.training.judgements.parts import KernelJudgement, write_judgements
from stowplan_predictor.training.judgements.predictions import Predictions, write_predictions
from stowplan_predictor.training.kernels import models as kernel_models
from stowplan_predictor.training.networks import candidates, kernel_systems
from stowplan_predictor.training.networks import fits as network_fits
from stowplan_predictor.training.networks.candidates import STOWPLAN, Candidate
from stowplan_predictor.training.networks.cases import Case, Judged
from stowplan_predictor.training.networks.kernel_systems import SYSTEMS, UNITS
from stowplan_predictor.training.sharing import judgements, load_fits, pair_fits

NAME: Final = "stowplan-cpu"
_SHIPPED: Final = Path(__file__).resolve().parents[2] / "shipped" / CPU_RUNTIME
# Kept beside the data set: how the errors fell while the served models learned, and what was chosen by which figures.
CURVES: Final = "curves.json"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Trained:
    """Everything a bundle is written from."""

    files: Mapping[str, bytes]
    models: Mapping[str, Any]
    errors: Mapping[str, Any]
    curves: Mapping[str, Any]


def _absolute(judged: Sequence[Judged]) -> dict[str, LogInterval]:
    """An interval in plain logarithms for each slice of whole cores: where pairs are too few, theirs is stretched from it."""
    slices = {item.case.measured.slice_.millicores for item in judged if not item.case.measured.slice_.fractional}
    return {
        str(millicores): conformal([item.log_residual for item in judged if item.case.measured.slice_.millicores == millicores], network_fits.COVERAGE)
        for millicores in sorted(slices)
    }


def _final_kernels(system: str, samples: Sequence[Sample], seed: int) -> kernel_models.FittedKernels:
    fits = [kernel_models.KERNEL_SYSTEMS[member](samples, seed) for member in kernel_models.BLENDS.get(system, (system,))]
    return fits[0] if len(fits) == 1 else kernel_models.blend(fits)


def train(world: World, known: Mapping[str, Candidate], say: Say) -> Trained:
    """Chooses, fits and judges every stage.

    Args:
        world: the data set.
        known: every system that may be served, on every fold.
        say: is told what was chosen.

    Raises:
        ValueError: the data set is too small for a stage.
    """
    # Learned fusion is worse than the runtime's own rules on families held out (`docs/accuracy.md`): samples and servers cut graphs by rules.
    device, fusion = world.samples.device, FusionTable.rules()
    samples = [sample for sample in world.samples.networks.values() if sample.split != LIGHT]
    errors = {name: item.error for name, item in known.items()}
    system = candidates.best(known)
    say("mean absolute log error on held-out families: " + ", ".join(f"{name} {error:.4f}" for name, error in sorted(errors.items())) + f"; served: {system}")
    served = known[system]
    held_out = served.held_out()
    cases = [case for fold, some in served.cases.items() if fold != LIGHT_FOLD for case in some]
    fit, scores = network_fits.with_reach(
        network_fits.fit_networks(candidates.judged_cases(cases), str(device.name)), samples, world.splits, held_out
    )  # fmt: skip
    models = {fold: item.model() for fold, item in served.fits.items()}
    by_name = {(case.sample.name, case.slice): case for some in served.cases.values() for case in some}

    def alone(network: str, slice_: str) -> Judged | None:
        case: Case | None = by_name.get((network, slice_))
        return None if case is None or case.efficiencies is None else network_fits.predict(case, models[case.fold], str(device.name))

    folds = {**world.splits, **{sample.family: world.splits.get(sample.family, LIGHT_FOLD) for sample in world.samples.networks.values()}}
    pair_fit = pair_fits.fit_pairs(pair_fits.pairs(world.dataset.pairs, alone, folds, device), _absolute(held_out))
    trained = {sample.name for sample in samples}
    response, load_cases = load_fits.fit_loads(world.dataset.loads, [row for row in world.dataset.networks if row.network in trained])
    say(f"fitting {system} on {len(samples)} networks and isolated kernels")
    kernels = _final_kernels(system, samples, world.seed)
    shares = {item.case.sample.name: item.isolated.kernel_ms / item.isolated.kernel_ms.sum() for item in held_out if not item.case.measured.slice_.fractional}
    return Trained(
        files={
            **kernels.files,
            **fit.files,
            FUSION: canonical(asdict(fusion)),
            NETWORKS: canonical(asdict(fit.table)),
            COLOCATION: canonical(asdict(pair_fit.table)),
            RESPONSE: canonical(asdict(response)),
            f"{DEVICES}/{device.name}.json": (world.folder / "device.json").read_bytes(),
        },
        models={
            "fusion": {"system": fusion.system},
            "kernels": {"system": system, "mean_absolute_log_error": {name: round(error, 5) for name, error in sorted(errors.items())}},
            "networks": dict(fit.choices),
        },
        errors={
            "profiles": bundle_errors.profiles(samples),
            "networks": {
                "held_out_families": bundle_errors.by_split(held_out),
                "not_judged": bundle_errors.refusals(cases),
                "refused": dict(world.samples.refused),
            },
            "light": {
                "held_out_families": bundle_errors.by_split(served.judged.get(LIGHT_FOLD, ())),
                "not_judged": bundle_errors.refusals(served.cases.get(LIGHT_FOLD, ())),
            },
            "out_of_distribution": bundle_errors.out_of_distribution(fit, samples, shares, scores),
            "colocation": judgements.colocation(pair_fit),
            "response": judgements.loads(load_cases, {name: row.family for name, row in world.dataset.structures.items()}),
        },
        curves={"kernels": {name: [round(float(value), 5) for value in curve] for name, curve in kernels.curves.items()}},
    )


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="stowplan train", description="Train a bundle from a measured data set, and judge it on families held out.")
    parser.add_argument("--dataset", type=Path, help="a folder datasets/<device>; the only one under --datasets where not given")
    parser.add_argument("--datasets", type=Path, default=Path("datasets"))
    parser.add_argument("--output", type=Path, default=_SHIPPED, help="the bundle's folder (default: the one that the package ships)")
    parser.add_argument("--work", type=Path, default=default_work(), help="where fitted units are kept, so that a run which was stopped goes on")
    parser.add_argument("--minutes", type=float, default=25.0, help="begin no unit that is not expected to end within them (default 25)")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def _content(world: World, work: Path, minutes: float, say: Say) -> Content:
    """Units of every candidate, fitted where they are missing.

    Raises:
        DatasetRefused: a unit failed, or time ran out.
    """
    system = SYSTEMS[STOWPLAN]
    plan = runners.Plan(world, Units(work), UNITS, [system], {kind: UNITS[kind].key(world) for kind in system.units}, finishing=False)
    missing = len(plan.open_units())
    say(f"{missing} of {sum(len(UNITS[kind].folds(world)) for kind in system.units)} units are to be fitted")
    outcome = runners.run(plan, minutes, say, lambda label: say(f"fitted {label}"), lambda: None)
    if outcome.failed or outcome.left:
        told = "; ".join(f"{name}: {reason}" for name, reason in sorted(outcome.failed.items())) or f"time ran out with {outcome.left} units left: run it again"
        raise DatasetRefused(f"{world.folder}: {told}")
    return {kind: {fold: plan.units.read(kind, plan.keys[kind], fold) for fold in UNITS[kind].folds(world)} for kind in system.units}


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains and writes a bundle; exit status 0 done, 1 the data cannot carry one."""
    chosen, began = _arguments(arguments), time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:5.0f} s  {text}\n")
        sys.stderr.flush()

    folders = [chosen.dataset] if chosen.dataset else sorted(path.parent for path in chosen.datasets.glob("*/provenance.json"))
    if len(folders) != 1:
        say(f"{chosen.datasets}: {len(folders)} data sets; name one with --dataset")
        return 1
    try:
        world = read_world(folders[0], chosen.seed)
        say(f"{len(world.samples.networks)} networks and isolated kernels read, {len(world.samples.refused)} refused")
        content = _content(world, chosen.work, chosen.minutes, say)
        # Small fits in many threads only wait for each other.
        with threadpool_limits(1):
            known = kernel_systems.candidates(world, content)
            say(f"{len(known)} systems judged on held-out families")
            trained = train(world, known, say)
    except (DatasetRefused, ValueError) as error:
        say(f"error: {error}")
        return 1
    label = write_bundle(
        chosen.output,
        name=NAME,
        runtime=CPU_RUNTIME,
        files=trained.files,
        models=trained.models,
        provenance=bundle_provenances.provenance(world),
        errors=trained.errors,
    )
    write_predictions(world.folder, Predictions(STOWPLAN, world.data, (*candidates.served_rows(known), *world.refusals(STOWPLAN))))
    write_judgements(world.folder, candidates.served_kernels(known), KernelJudgement, world.data)
    (world.folder / CURVES).write_bytes(canonical({"bundle": label, **trained.curves}))
    bundle = load_bundle(chosen.output)
    say(f"{chosen.output}: {bundle.manifest.name}@{label}")
    zoo = trained.errors["networks"]["held_out_families"].get("zoo", {})
    for name, figures in zoo.items():
        sys.stdout.write(f"zoo on {name}: MAPE {figures['mape_percent']:.2f} %, within 10 % {figures['within_10_percent']:.1f} %\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
