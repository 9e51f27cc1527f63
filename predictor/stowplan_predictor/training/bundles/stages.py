"""The stages of the served bundle: which kernel system serves, whole networks, reach, neighbours and load, each with its figures on families held out."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Any

from stowplan_predictor.bundles.loading import COLOCATION, DEVICES, FUSION, NETWORKS, RESPONSE
from stowplan_predictor.bundles.manifests import canonical
from stowplan_predictor.fusion.tables import FusionTable
from stowplan_predictor.kernels.estimators import KernelTable
from stowplan_predictor.kernels.intervals import LogInterval, conformal
from stowplan_predictor.training.bundles import errors as bundle_errors
from stowplan_predictor.training.data.folds import LIGHT, LIGHT_FOLD
from stowplan_predictor.training.data.samples import Sample
from stowplan_predictor.training.harness import runners
from stowplan_predictor.training.harness.runners import PROCESSES
from stowplan_predictor.training.harness.worlds import World
from stowplan_predictor.training.kernels import models as kernel_models
from stowplan_predictor.training.kernels.models import FittedKernels
from stowplan_predictor.training.networks import candidates
from stowplan_predictor.training.networks import fits as network_fits
from stowplan_predictor.training.networks.candidates import Candidate
from stowplan_predictor.training.networks.cases import Case, Judged
from stowplan_predictor.training.sharing import judgements, load_fits, pair_fits

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


# What forked processes share with the one that read it.
_SHARED: list[Callable[[str], FittedKernels]] = []


def _shared_fit(member: str) -> tuple[KernelTable, Mapping[str, bytes], Mapping[str, Sequence[float]]]:
    """Plain values: an opened model does not travel between processes."""
    fitted = _SHARED[0](member)
    return fitted.table, fitted.models, fitted.curves


def _final_kernels(system: str, samples: Sequence[Sample], seed: int) -> FittedKernels:
    """The system that serves, of everything it may learn from; a blend's members are fitted side by side."""
    members = kernel_models.BLENDS.get(system, (system,))
    _SHARED[:] = [lambda member: kernel_models.KERNEL_SYSTEMS[member](samples, seed)]
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("fork"), initializer=runners.one_thread) as pool:
        fits = [FittedKernels(*plain) for plain in pool.map(_shared_fit, members)]
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
    fit, gaps = network_fits.with_reach(
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
            "out_of_distribution": bundle_errors.out_of_distribution(fit, samples, shares, gaps),
            "colocation": judgements.colocation(pair_fit),
            "response": judgements.loads(load_cases, {name: row.family for name, row in world.dataset.structures.items()}),
        },
        curves={"kernels": {name: [round(float(value), 5) for value in curve] for name, curve in kernels.curves.items()}},
    )
