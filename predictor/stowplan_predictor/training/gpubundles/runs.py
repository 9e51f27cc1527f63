"""The whole way: a campaign's folder and the public bundle in; a bundle for that GPU and runtime, and what was predicted of held-out families, out."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from stowplan_predictor.bundles.loading import FUSION
from stowplan_predictor.bundles.manifests import MANIFEST, canonical
from stowplan_predictor.bundles.writing import write_bundle
from stowplan_predictor.errors import BundleRefused
from stowplan_predictor.gpus.estimators import TABLE, FamilyTable, GpuTable
from stowplan_predictor.kernels.intervals import LogInterval, conformal, least_residuals
from stowplan_predictor.training.cuda import tables
from stowplan_predictor.training.gpubundles import calibrations, judgements, models, networks, outcomes, pairs, scores
from stowplan_predictor.training.gpubundles.calibrations import Calibrated
from stowplan_predictor.training.gpubundles.judgements import COVERAGE, Judged
from stowplan_predictor.training.gpubundles.kernels import kernels_of
from stowplan_predictor.training.gpubundles.networks import NetworkOf
from stowplan_predictor.training.gpubundles.outcomes import Outcome
from stowplan_predictor.training.gpubundles.predictions import NetworkPrediction
from stowplan_predictor.training.gpubundles.truths import Truths, truths
from stowplan_predictor.training.harness import units

_VERSIONED: Final = ("numpy", "onnx", "scikit-learn", "scipy", "stowplan")
_CODE: Final = ("gpus", "training/gpubundles")


def train(
    campaign: Path, runtime: str, public: Path, bundle: Path, *,
    predictions: Path | None = None, network_of: NetworkOf = networks.from_zoo, say: Callable[[str], None] = lambda _: None,
) -> tuple[Outcome, str]:  # fmt: skip
    """Judges with families held out, learns from everything, and writes the bundle; nothing is written before all of it is there.

    Returns:
        What held-out families showed, and the bundle's version.

    Args:
        campaign: folder of `stowplan profile --device cuda`.
        runtime: one of the campaign's.
        public: the bundle of GPUs that is calibrated.
        bundle: where the new one goes; what is there is replaced.
        predictions: folder for the predictions of held-out families; None: they are not kept.
        network_of: from the zoo's names to kernels.
        say: told what is under way.

    Raises:
        DatasetRefused: the tables are missing, broken, of several GPUs, or too few.
        BundleNotFound: there is no bundle to calibrate.
        BundleRefused: it cannot be used, or something else than a bundle is where the new one goes.
    """
    if bundle.exists() and not (bundle / MANIFEST).is_file():
        raise BundleRefused(f"{bundle}: holds something that is no bundle, and would be replaced; name another place")
    base = calibrations.public(public)
    dataset = tables.read_dataset(campaign)
    found, kernels = truths(dataset, runtime), kernels_of(dataset, runtime)
    calibrations.machine(found.product)
    for part in sorted({row.partition for row in found.parts} | {row.sharing for row in found.pairs}):
        networks.where(found.product, part)
    say(f"{found.product}: {len(found.whole)} networks, {len(found.parts)} on parts, {len(found.pairs)} pairs, {len(kernels)} kernels of one operator")
    known = networks.known([row.network for row in (*found.whole, *found.parts)], network_of)
    missing = [*found.missing, *(f"{name} cannot be judged: {reason}" for name, reason in known.refused.items())]
    if not len(kernels):
        missing.append("kernels: none of one operator with a time; the public models are served as they are")
    judged = judgements.judge(found, kernels, base, known.networks)
    say("every family was held out once; now everything teaches")
    model = calibrations.calibrated(base, found.product, kernels)
    taught = [row for row in found.whole if row.network in known.networks]
    shares = [row for row in found.parts if row.network in known.networks]
    served = models.learned(found.product, model, known.networks, taught, shares)
    together = pairs.beside(found, served, known.networks)
    beside = pairs.predictions(together)
    table, thin = _table(model, served, judged)
    laws = pairs.sharing_laws(found.product, together, beside, COVERAGE)
    missing += thin
    missing += [f"{law.kind} pairs: {law.pairs}, too few for an interval: answers beside neighbours stay unvalidated" for law in laws if law.interval is None]
    files = {TABLE: replace(table, sharings=laws).encoded(), FUSION: canonical(asdict(networks.FUSION)), **model.files}
    done = Outcome(found.product, runtime, judged.networks, tuple(beside), judged.kernels, tuple(missing))
    name = f"stowplan-{found.product.lower()}"[:63]
    label = write_bundle(
        bundle, name=name, runtime=runtime, files=files, models=_MODELS, provenance=_provenance(campaign, found, dataset, public), errors=scores.summary(done)
    )
    if predictions is not None:
        outcomes.write(done, predictions)
    return done, label


_MODELS: Final = {
    "kernels": "the public bundle's boosted trees, corrected by measured kernels", "networks": "weights by kernel family, cost of MPS shares: from networks",
    "sharing": "published laws, scaled by measured pairs where there are enough",
}  # fmt: skip


def _table(model: Calibrated, served: models.Learned, judged: Judged) -> tuple[GpuTable, list[str]]:
    whole = _residuals([row for row in judged.networks if row.partition == "full"])
    parts = _residuals([row for row in judged.networks if row.partition.startswith(("mps-", "green-"))])
    thin = []
    part = conformal(parts, COVERAGE) if len(parts) >= least_residuals(COVERAGE) else None
    if part is None and parts:
        thin.append(f"parts of the GPU: {len(parts)} rows, too few for an interval: shares stay extrapolated, by physics")
    families = {}
    for family, one in model.table.families.items():
        left = judged.kernel_residuals.get(family, np.zeros(0))
        families[family] = _family(one, conformal(left, COVERAGE) if len(left) >= least_residuals(COVERAGE) else None)
    return replace(model.table, families=families, networks=served.law(conformal(whole, COVERAGE), part)), thin


def _family(one: FamilyTable, seen: LogInterval | None) -> FamilyTable:
    # Few kernels: as sure as on a GPU that nobody measured.
    return replace(one, seen=seen or one.unseen, unseen=one.unseen.around(seen) if seen else one.unseen)


def _residuals(rows: Sequence[NetworkPrediction]) -> list[float]:
    return [float(np.log(row.measured_ms / row.predicted_ms)) for row in rows]


def _provenance(campaign: Path, found: Truths, dataset: tables.GpuDataset, public: Path) -> dict[str, Any]:
    files = sorted(path for path in campaign.iterdir() if path.suffix == ".parquet" or path.name == tables.CAMPAIGN)
    return {
        "measured": {
            "product": found.product,
            "machines": dataset.machines,
            "networks": len(found.whole),
            "parts": len(found.parts),
            "pairs": len(found.pairs),
        },
        "campaign": {path.name: f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files},
        "calibrates": calibrations.label(public),
        "code": f"sha256:{units.code_digest(_CODE)}",
        "versions": {name: version(name) for name in _VERSIONED},
    }
