"""What a calibration is worth, as far as one machine can tell: `python -m stowplan_predictor.training.calibration.checks FOLDER`.

There is no second machine in the data. What there is, is a second slice, and it stands in for one: models that learned from one core alone meet two cores,
whose kernels lie elsewhere against their roofline. For each fold, families held out, the anchors are the isolated kernels that are most like those that
`stowplan calibrate` measures.
Writes what came of it to `judgements/calibration.json`; the page says what it is, and what it is not.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
from stowplan_fleet.devices import CpuDevice

from stowplan_predictor.bundles.loading import CPU_RUNTIME, Bundle, shipped_bundle
from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.fusion.serving import RuleFusion
from stowplan_predictor.kernels.distances import Distance
from stowplan_predictor.kernels.intervals import LogInterval
from stowplan_predictor.kernels.latencies import DeviceTable, NetworkModel, NetworkTable, isolated
from stowplan_predictor.kernels.novelties import gaps, positions
from stowplan_predictor.training.calibration import calibrations
from stowplan_predictor.training.calibration.anchor_kernels import NAMES
from stowplan_predictor.training.calibration.anchor_readings import work_of
from stowplan_predictor.training.calibration.calibrations import Reading
from stowplan_predictor.training.data.folds import ISOLATED, LIGHT_FOLD, Fold
from stowplan_predictor.training.data.samples import Sample
from stowplan_predictor.training.harness import runners
from stowplan_predictor.training.harness.worlds import World, read_world
from stowplan_predictor.training.kernels.models import KERNEL_SYSTEMS
from stowplan_predictor.training.networks.cases import case
from stowplan_predictor.training.networks.dispatch_fits import fit_dispatch
from stowplan_predictor.training.networks.fits import COVERAGE

_KNOWN: Final = "cpu:1"
_NEW: Final = "cpu:2"
# The quickest to fit; what a calibration adds does not hang on which model it is added to.
_SYSTEM: Final = "boosted"
# As `pages.sources` reads it.
FILE: Final = "judgements/calibration.json"


@dataclass(frozen=True, slots=True)
class FoldCheck:
    """One fold: log(measured / predicted) of its published networks on the new slice."""

    fold: int
    anchors: int
    before: tuple[float, ...]
    after: tuple[float, ...]


def anchors_of(samples: Sequence[Sample], device: CpuDevice) -> list[Sample]:
    """For each anchor of `stowplan calibrate` the isolated kernel of its type that was measured on the new slice and is nearest in its sizes."""
    free = {sample.name: sample for sample in samples if sample.split == ISOLATED and _NEW in sample.measured and sample.measured[_NEW].visits}
    found = []
    for name in NAMES:
        work = work_of(name, device, RuleFusion())
        main = int(np.argmax(work.bytes))
        alike = [sample for sample in free.values() if sample.work.types == (work.types[main],)]
        if alike:
            apart = [gaps(positions(sample.work), positions(work)[main : main + 1])[0] for sample in alike]
            found.append(free.pop(alike[int(np.argmin(apart))].name))
    return found


def _errors(samples: Sequence[Sample], bundle: Bundle, model: NetworkModel, device: str) -> list[float]:
    """log(measured / predicted) of networks on the new slice; those that cannot be judged have none."""
    found = []
    for sample in samples:
        measured = sample.measured.get(_NEW)
        if measured is None or not measured.visits:
            continue
        outcome = bundle.kernels.efficiencies([(sample.work, measured.slice_)])[0]
        if not isinstance(outcome, CannotJudge):
            alone = isolated(sample.work, measured.slice_, outcome, model, Distance(nearest=device))
            found.append(float(np.log(measured.truth_ms / alone.median_ms)))
    return found


def _figures(errors: Sequence[float]) -> dict[str, Any]:
    relative = np.abs(np.exp(-np.array(errors)) - 1)
    return {
        "cases": len(errors),
        "median_ape_percent": round(100 * float(np.median(relative)), 2),
        "mape_percent": round(100 * float(relative.mean()), 2),
        "within_10_percent": round(100 * float((relative <= 0.1).mean()), 1),
    }


def _known(samples: Sequence[Sample]) -> list[Sample]:
    """As if nothing but the known slice had ever been measured."""
    return [replace(sample, measured={_KNOWN: sample.measured[_KNOWN]}) for sample in samples if _KNOWN in sample.measured]


def check(world: World, fold: Fold) -> FoldCheck:
    """Errors on the new slice before and after a calibration, families held out.

    Raises:
        ValueError: too few isolated kernels were measured on the new slice.
    """
    device, known = world.samples.device, _known(fold.train)
    kernels = KERNEL_SYSTEMS[_SYSTEM](known, world.seed)
    cases = [case(sample, _KNOWN, fold.number, kernels) for sample in known if sample.split != ISOLATED and sample.measured[_KNOWN].visits]
    table = DeviceTable(fit_dispatch([item for item in cases if item.efficiencies is not None]), {"1000": LogInterval(0.0, 0.0)}, (1000,))
    networks = NetworkModel(NetworkTable(COVERAGE, {str(device.name): table}), {})
    bundle = replace(shipped_bundle(CPU_RUNTIME), kernels=kernels.estimator, networks=networks, devices=(device,))
    readings = [Reading(sample.name, sample.work, sample.measured[_NEW].slice_, sample.measured[_NEW].truth_ms) for sample in anchors_of(fold.train, device)]
    found = calibrations.fit(readings, bundle, device)
    after = calibrations.model(bundle, found, str(device.name), {})
    zoo = [sample for sample in fold.test if sample.split == "zoo"]
    errors = [_errors(zoo, bundle, model, str(device.name)) for model in (networks, after)]
    return FoldCheck(fold.number, len(found.anchors), tuple(errors[0]), tuple(errors[1]))


def document(checks: Sequence[FoldCheck], data: str) -> dict[str, Any]:
    """All folds together, as it is committed."""
    return {
        "data": data,
        "system": _SYSTEM,
        "learned_from": _KNOWN,
        "calibrated_for": _NEW,
        "folds": len(checks),
        "anchors": max(item.anchors for item in checks),
        "before": _figures([error for item in checks for error in item.before]),
        "after": _figures([error for item in checks for error in item.after]),
    }


# What forked processes share with the one that read it.
_SHARED: list[World] = []


def _work(number: int) -> FoldCheck:
    return check(_SHARED[0], _SHARED[0].folds[number])


def main(arguments: Sequence[str] | None = None) -> int:
    """Checks every fold, and writes and prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m stowplan_predictor.training.calibration.checks", description=__doc__)
    parser.add_argument("folder", type=Path, help="datasets/<device>")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    world = read_world(chosen.folder, chosen.seed)
    _SHARED[:] = [world]
    with ProcessPoolExecutor(runners.PROCESSES, mp_context=get_context("fork"), initializer=runners.one_thread) as pool:
        checks = list(pool.map(_work, [number for number in world.folds if number != LIGHT_FOLD]))
    text = json.dumps(document(checks, world.data), indent=2, sort_keys=True) + "\n"
    (chosen.folder / FILE).parent.mkdir(exist_ok=True)
    (chosen.folder / FILE).write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
