"""What a calibration is worth, as far as one machine can tell: `python -m stowplan_predictor.training.calibration.checks`.

There is no second machine in the data. What there is, is a second slice: models that learned from one core alone meet two cores, whose kernels lie elsewhere
against their roofline, with families held out and at most twenty isolated kernels as anchors. Prints figures as JSON; writes nothing.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from stowplan_predictor.bundles.loading import CPU_RUNTIME, Bundle, shipped_bundle
from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.kernels.distances import Distance
from stowplan_predictor.kernels.intervals import LogInterval
from stowplan_predictor.kernels.latencies import DeviceTable, NetworkModel, NetworkTable, isolated
from stowplan_predictor.training.calibration import calibrations
from stowplan_predictor.training.calibration.calibrations import MOST_ANCHORS, Reading
from stowplan_predictor.training.data.folds import ISOLATED
from stowplan_predictor.training.data.samples import Sample
from stowplan_predictor.training.harness.worlds import read_world
from stowplan_predictor.training.kernels.models import KERNEL_SYSTEMS
from stowplan_predictor.training.networks.cases import case
from stowplan_predictor.training.networks.dispatch_fits import fit_dispatch
from stowplan_predictor.training.networks.fits import COVERAGE

_KNOWN: Final = "cpu:1"
_NEW: Final = "cpu:2"
_FOLD: Final = 0
_SYSTEM: Final = "boosted"


def anchors_of(samples: Sequence[Sample]) -> list[Sample]:
    """At most MOST_ANCHORS isolated kernels measured on the new slice: of each type in turn the one of middling time, then its neighbours."""
    by_type: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.split == ISOLATED and _NEW in sample.measured and sample.measured[_NEW].visits:
            by_type.setdefault(str(sample.work.types[0]), []).append(sample)
    queues = []
    for _, some in sorted(by_type.items()):
        ordered = sorted(some, key=lambda sample: (sample.measured[_NEW].truth_ms, sample.name))
        middle = len(ordered) // 2
        queues.append(sorted(ordered, key=lambda sample, ordered=ordered, middle=middle: abs(ordered.index(sample) - middle)))  # type: ignore[misc]
    found: list[Sample] = []
    for round_ in range(max(map(len, queues), default=0)):
        found += [queue[round_] for queue in queues if round_ < len(queue)]
    return found[:MOST_ANCHORS]


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
        "networks": len(errors),
        "mape_percent": round(100 * float(relative.mean()), 2),
        "within_10_percent": round(100 * float((relative <= 0.1).mean()), 1),
    }


def check(folder: Path, seed: int) -> dict[str, Any]:
    """Errors on two cores before and after a calibration, families held out.

    Raises:
        ValueError: too few isolated kernels were measured on the new slice.
    """
    world = read_world(folder, seed)
    fold, device = world.folds[_FOLD], world.samples.device
    known = [replace(sample, measured={_KNOWN: sample.measured[_KNOWN]}) for sample in fold.train if _KNOWN in sample.measured]
    kernels = KERNEL_SYSTEMS[_SYSTEM](known, seed)
    cases = [case(sample, _KNOWN, _FOLD, kernels) for sample in known if sample.split != ISOLATED and sample.measured[_KNOWN].visits]
    table = DeviceTable(fit_dispatch([item for item in cases if item.efficiencies is not None]), {"1000": LogInterval(0.0, 0.0)}, (1000,))
    networks = NetworkModel(NetworkTable(COVERAGE, {str(device.name): table}), {})
    bundle = replace(shipped_bundle(CPU_RUNTIME), kernels=kernels.estimator, networks=networks, devices=(device,))
    readings = [
        Reading(sample.name, sample.work, sample.measured[_NEW].slice_, sample.measured[_NEW].truth_ms) for sample in anchors_of(fold.train)
    ]  # fmt: skip
    found = calibrations.fit(readings, bundle, device)
    after = calibrations.model(bundle, found, str(device.name), {})
    zoo = [sample for sample in fold.test if sample.split == "zoo"]
    return {
        "learned_from": _KNOWN,
        "calibrated_for": _NEW,
        "anchors": len(found.anchors),
        "offsets": {threads: asdict(offset) for threads, offset in found.offsets.items()},
        "before": _figures(_errors(zoo, bundle, networks, str(device.name))),
        "after": _figures(_errors(zoo, bundle, after, str(device.name))),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(prog="calibration_checks", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dataset", type=Path, required=True, help="a folder datasets/<device>")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    sys.stdout.write(json.dumps(check(chosen.dataset, chosen.seed), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
