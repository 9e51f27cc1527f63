"""Trains the served bundle from a committed data set: `stowplan train`, at most half an hour on two cores.

Every kernel system that may be served is fitted on each fold (units that `make rivals` shares, and that a run which was stopped finds again); the best on
held-out families is chosen, whole networks are fitted on what those units say, and the chosen system is fitted once more on everything but the light models.
Deterministic: the same data, code and library versions give the same bundle. Figures in the manifest come from models that did not see the judged families.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from threadpoolctl import threadpool_limits

from stowplan_predictor.bundles.loading import CPU_RUNTIME, load_bundle
from stowplan_predictor.bundles.manifests import canonical
from stowplan_predictor.bundles.writing import write_bundle
from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.training.bundles import provenances as bundle_provenances
from stowplan_predictor.training.bundles.stages import Say, train
from stowplan_predictor.training.harness import runners
from stowplan_predictor.training.harness.systems import Content
from stowplan_predictor.training.harness.units import Units, default_work
from stowplan_predictor.training.harness.worlds import World, read_world
from stowplan_predictor.training.judgements.predictions import Predictions, write_predictions
from stowplan_predictor.training.networks import candidates, kernel_systems
from stowplan_predictor.training.networks.candidates import STOWPLAN
from stowplan_predictor.training.networks.kernel_systems import SYSTEMS, UNITS

NAME: Final = "stowplan-cpu"
_SHIPPED: Final = Path(__file__).resolve().parents[2] / "shipped" / CPU_RUNTIME
# Kept beside the data set: how the errors fell while the served models learned, and what was chosen by which figures.
CURVES: Final = "curves.json"


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
            known = kernel_systems.candidates(world, content, runners.PROCESSES)
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
    for name, rows in {STOWPLAN: candidates.served_rows(known), **candidates.rows(known)}.items():
        write_predictions(world.folder, Predictions(name, world.data, (*rows, *world.refusals(name))))
    kernel_systems.write_parts(world, known, content)
    (world.folder / CURVES).write_bytes(canonical({"bundle": label, **trained.curves}))
    bundle = load_bundle(chosen.output)
    say(f"{chosen.output}: {bundle.manifest.name}@{label}")
    zoo = trained.errors["networks"]["held_out_families"].get("zoo", {})
    for name, figures in zoo.items():
        sys.stdout.write(f"zoo on {name}: MAPE {figures['mape_percent']:.2f} %, within 10 % {figures['within_10_percent']:.1f} %\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
