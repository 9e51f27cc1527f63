"""Fits: the bundle of GPUs, from all published GPUs, and intervals from those that were held out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from stowplan_predictor.bundles.loading import FUSION
from stowplan_predictor.bundles.manifests import canonical
from stowplan_predictor.bundles.writing import write_bundle
from stowplan_predictor.fusion.tables import FusionTable
from stowplan_predictor.gpus.estimators import TABLE, FamilyTable, GpuTable
from stowplan_predictor.gpus.features import FEATURES
from stowplan_predictor.gpus.figures import MeasuredGpu
from stowplan_predictor.gpus.rooflines import bounds
from stowplan_predictor.gpus.tasks import BYTES, FAMILIES, KINDS, POINTWISE, ROWS, Matrix, Tasks
from stowplan_predictor.kernels.intervals import LogInterval, conformal
from stowplan_predictor.training.gpus import mixtures, published, samples, scores
from stowplan_predictor.training.gpus.measured_figures import machine
from stowplan_predictor.training.gpus.mixture_files import to_model
from stowplan_predictor.training.gpus.predictions import Judged, source
from stowplan_predictor.training.gpus.runs import Data, held_out
from stowplan_predictor.training.gpus.samples import Samples
from stowplan_predictor.training.gpus.tables import MODELS
from stowplan_predictor.training.harness import units

NAME: Final = "stowplan-gpu"
RUNTIME: Final = "torch-eager"
COVERAGE: Final = 0.9
SERVED: Final = "ours"
# Code that decides what the bundle holds and how it is read, as paths below the predictor's package.
_CODE: Final = ("gpus", "training/gpus/fits.py", "training/gpus/labels.py", "training/gpus/measured_figures.py", "training/gpus/mixture_files.py",
                "training/gpus/mixtures.py", "training/gpus/runs.py", "training/gpus/samples.py", "training/gpus/tables.py")  # fmt: skip
_VERSIONED: Final = ("numpy", "onnx", "scikit-learn", "stowplan")
# The published rows come from these versions.
_MEASURED: Final = {"runtime": "PyTorch 2.1, eager, one operator at a time", "precision": "float32, TF32 off", "timing": "milliseconds, launch included"}


@dataclass(frozen=True)
class _Family:
    content: bytes
    table: FamilyTable


def code_digest() -> str:
    """`sha256:<hex>` of the code that training and prediction run through."""
    return f"sha256:{units.code_digest(_CODE)}"


def _family(learned: Samples, asked: Samples, judged: Judged, family: str) -> _Family:
    model = mixtures.fit_family(learned.part((learned.families == family) & ~learned.trap), family)
    some = asked.part((asked.families == family) & ~asked.trap)
    said = mixtures.Served({family: model})(some)
    mine = (judged.families == family) & ~scores.trap(judged)
    unseen = np.log(judged.measured_ms[mine]) - judged.zero[SERVED][mine]
    table = FamilyTable(
        file=f"kernels/{family}.onnx",
        lower=model.lower,
        upper=model.upper,
        seen=conformal(some.log_ms - said, COVERAGE),
        unseen=conformal(unseen, COVERAGE),
    )
    return _Family(to_model(model, family), table)


def _unmeasured(found: Data) -> LogInterval:
    """Element-wise and row-wise kernels, each GPU held out, as if nobody had measured such a kind."""
    residuals: list[Matrix] = []
    for model in sorted(set(MODELS.values())):
        held = held_out(found, model)
        for product, rows in held.judged.by_product():
            light = rows[np.isin([KINDS[held.judged.tasks.kinds[row]] for row in rows], (POINTWISE, ROWS))]
            tasks = held.judged.tasks.part(light)
            stranger = Tasks((BYTES,) * len(light), tasks.numbers, tasks.measured)
            bound = bounds(stranger, machine(product), held.figures[model]).smooth_ms
            residuals.append(np.log(held.judged.latency_ms[light] / bound))
    return conformal(np.concatenate(residuals), COVERAGE)


def _errors(judged: Judged) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, log_ms in judged.zero.items():
        found[name] = {"unseen_gpu_mape_percent": round(scores.across_gpus(judged, scores.errors(judged, log_ms)), 2)}
        if name in judged.twenty:
            found[name]["after_twenty_mape_percent"] = round(scores.across_gpus(judged, scores.errors(judged, judged.twenty[name])), 2)
    return found


def bundle(found: Data, judged: Judged, output: Path) -> str:
    """Writes the bundle.

    Returns:
        Its version.
    """
    learned, asked = (samples.samples(table, found.figures, found.hosts) for table in (found.learned, found.judged))
    families: Mapping[str, _Family] = {family: _family(learned, asked, judged, family) for family in FAMILIES}
    table = GpuTable(
        features=FEATURES,
        kinds=tuple(KINDS),
        gpus=tuple(MeasuredGpu(product, found.figures[model]) for product, model in MODELS.items()),
        families={family: one.table for family, one in families.items()},
        unmeasured=_unmeasured(found),
        coverage=COVERAGE,
    )
    files = {TABLE: table.encoded(), FUSION: canonical(asdict(FusionTable.operators()))}
    files |= {one.table.file: one.content for one in families.values()}
    return write_bundle(
        output,
        name=NAME,
        runtime=RUNTIME,
        files=files,
        models={"kernels": "boosted trees over launch, sustained rate and bandwidth, mixed over library kernels", "sharing": "published laws, unvalidated"},
        provenance={
            "source": {"url": published.SOURCE, "commit": published.COMMIT, "licence": published.LICENCE, "rows": published.ROWS, "tables": source()},
            "measured": _MEASURED,
            "code": code_digest(),
            "versions": {name: version(name) for name in _VERSIONED},
        },
        errors=_errors(judged),
    )
