"""The page `docs/gpu-accuracy.md`: rendered from the committed predictions, without training."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from stowplan_fleet.slices import SliceKind

from stowplan_predictor.gpus.tasks import BATCHED, CONVOLUTION, FAMILIES, LINEAR, POINTWISE, ROWS
from stowplan_predictor.training.gpus import predictions, published, scores, sharing_checks
from stowplan_predictor.training.gpus.predictions import Judged

OURS: Final = "ours"
_NAMES: Final = {
    "mean": "mean of the kind", "roofline": "roofline at published peaks", "linear": "linear on FLOPs and bytes", "forests": "random forests",
    "boosted": "boosted trees", "utilization": "tile utilization (NeuSight's form)", "gnn": "kernel GNN (one node a kernel)",
    "physics": "physics alone (nothing learned)", OURS: "**served: trees over physics, mixed over library kernels**",
}  # fmt: skip
_FAMILIES: Final = {
    LINEAR: "linear layers", BATCHED: "batched products", CONVOLUTION: "convolutions (3 x 3)", POINTWISE: "element-wise", ROWS: "softmax, layer norm",
}  # fmt: skip
_BAR_ZERO, _BAR_TWENTY = 15.0, 10.0


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(["---"] + ["---:"] * (len(head) - 1)) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _percent(value: float) -> str:
    return f"{value:.1f}"


def _systems(found: Judged, of: dict[str, np.ndarray]) -> list[str]:
    errors = {name: scores.across_gpus(found, scores.errors(found, values)) for name, values in of.items()}
    return sorted(errors, key=lambda name: -errors[name])


def _by_gpu(found: Judged, of: dict[str, np.ndarray]) -> str:
    gpus = sorted(set(found.models.tolist()))
    good = ~scores.trap(found)
    rows = []
    for name in _systems(found, of):
        error = scores.errors(found, of[name])
        each = [_percent(scores.score(error, good & (found.models == gpu)).mape) for gpu in gpus]
        all_of = f"**{_percent(scores.across_gpus(found, error))}**"
        if error.ndim > 1:
            low, high = scores.spread(found, error)
            all_of += f" ({_percent(low)} to {_percent(high)})"
        rows.append([_NAMES[name], *each, all_of])
    return _table(["system", *(f"{gpu} held out" for gpu in gpus), "mean over GPUs"], rows)


def _by_family(found: Judged, values: np.ndarray) -> str:
    gpus = sorted(set(found.models.tolist()))
    good = ~scores.trap(found)
    error = scores.errors(found, values)
    rows = []
    for family in FAMILIES:
        mine = good & (found.families == family)
        cells = [mine & (found.models == gpu) for gpu in gpus]
        each = [_percent(scores.score(error, cell).mape) if cell.any() else "apart" for cell in cells]
        rows.append([_FAMILIES[family], str(int(mine.sum())), *each, _percent(scores.score(error, mine).median)])
    return _table(["kernels", "rows", *gpus, "median of all rows"], rows)


def _trap(found: Judged) -> str:
    apart = scores.trap(found)
    rows = [[_NAMES[name], _percent(scores.score(scores.errors(found, found.zero[name]), apart).mape)] for name in _systems(found, dict(found.zero))]
    return _table(["system", "P4, linear layers"], rows)


def _types(found: Judged) -> str:
    gpus = sorted(set(found.models.tolist()))
    names = {"mean": "most frequent of the kind", "gnn": _NAMES["gnn"]}
    rows = []
    for name, right in sorted(found.types.items(), reverse=True):
        for place, what in enumerate(("top-1", "top-5")):
            each = [f"{100 * right[place][found.models == gpu].mean():.0f}" for gpu in gpus]
            rows.append([f"{names[name]}, {what}", *each])
    return _table(["% right", *(f"{gpu} held out" for gpu in gpus)], rows)


def _verdict(found: Judged) -> str:
    zero = {name: scores.across_gpus(found, scores.errors(found, values)) for name, values in found.zero.items()}
    twenty = {name: scores.across_gpus(found, scores.errors(found, values)) for name, values in found.twenty.items()}
    lines = []
    for what, bar, errors in (("without a sample", _BAR_ZERO, zero), ("after twenty samples", _BAR_TWENTY, twenty)):
        mine, rivals = errors[OURS], {name: value for name, value in errors.items() if name != OURS}
        best = min(rivals, key=lambda name: rivals[name])
        met = "met" if mine <= bar else f"missed by {mine - bar:.1f} points"
        against = f"better than every rival (the next is {_NAMES[best].strip('*')}, {_percent(rivals[best])} %)"
        if rivals[best] <= mine:
            against = f"not better than {_NAMES[best].strip('*')} ({_percent(rivals[best])} %)"
        lines.append(f"* Unseen GPU {what}: {_percent(mine)} %, the bar is {bar:.0f} %: {met}; {against}.")
    return "\n".join(lines)


def _sharing() -> str:
    law = {SliceKind.TIME: "time slicing: equal turns", SliceKind.MPS: "MPS: resources used at once", SliceKind.MIG: "MIG: nothing"}
    rows = [
        [law[check.kind], str(check.clients), f"{check.measured_s:.3f}", f"{check.predicted_s:.3f}", f"{check.error_percent:+.0f} %"]
        for check in sharing_checks.checks()
    ]
    return _table(["law", "clients", "published s", "law s", "error"], rows)


def page(found: Judged) -> str:
    """The page's text."""
    count = len(found.kinds)
    return f"""# How accurate: GPUs

Made by `tools/generators/gpu_accuracy.py` from `datasets/{predictions.FOLDER}/{predictions.FILE}`; do not edit.

No GPU was measured by this project. What stands here rests on public measurements: {published.ROWS:,} single kernels (PyTorch 2.1, eager, float32 without
TF32, launch included) on five GPU models, from [{published.SOURCE.rpartition("/")[2]}]({published.SOURCE}) at commit {published.COMMIT} ({published.LICENCE}).
The tables themselves are not in this project. To train, fetch the `kernels_train_*.csv` of that commit into a folder and run
`python -m stowplan_predictor.training.gpus --tables FOLDER`: each file is held against its SHA-256 (`training/gpus/published.py`).

**How it is judged.** Each GPU model is held out in turn (both A100s are one); models learn from the other four. A tenth of the shapes ({count:,} rows over all
GPUs) is kept from every model on every GPU, so a GPU held out is judged on shapes that are new as well. Errors are mean absolute percentage errors, in percent,
mean over the GPU's rows. The P4's linear layers are left out of all figures and of all learning, and reported apart: that card throttles under long
products far below what any published figure tells.
The GPUs held out were looked at: features, the rules for what an unknown GPU reaches of its peaks, and how much twenty readings may change were made with the
errors of all five in sight, so the served figures are somewhat too good. One choice weighs more than the margin by which the first bar is met: how much less
power Volta and Turing take for an operation than Pascal (a published figure of their process) was taken after its effect on P4 and T4 had been seen, and is
worth some 0.8 points. Nothing was validated among the learning GPUs alone. Sizes of trees were set once and never changed. No latency of a GPU held out
taught the model that is judged on it.

**Two things to know about the tables.** A batched product is (B, M, N) times (B, N, K), and a linear layer leads from N to K numbers: N is what is summed over;
the grids of the kernels agree. And convolutions were timed with PyTorch's search for the fastest kernel switched on (`cudnn.benchmark`); each launch costs the
host more the more shapes the process has run, which we take to be its doing: some 0.1 ms at the beginning of a table, 0.4 (A100, V100) to 0.8 ms (P100) at
its end, as the order of the rows shows. Every system here is spared that: it learns milliseconds less the host's, and the host's are added to what it says, by
the slope of other GPUs where a GPU is held out. The product serves without them, as in a process that has run few shapes.

## The bars

{_verdict(found)}

## A GPU that nobody measured

{_by_gpu(found, dict(found.zero))}

## The same after twenty kernels were measured on it

Twenty kernels by a plan that looks at no latency; they tell what launching costs there, by how much kernels of a family are off, and alike ones within it
(`training/gpus/adaptations.py`). Five draws of twenty: their mean, and in brackets the least and the most. Every learning system is corrected in the same way;
the served one learns from the kernels' names too which ones run there.

{_by_gpu(found, dict(found.twenty))}

## By kind of kernel, as served

Without a sample:

{_by_family(found, found.zero[OURS])}

After twenty:

{_by_family(found, found.twenty[OURS])}

## Which kernel runs

The type of the kernel that ran, by its name without the generation it was compiled for (`sgemm_128x64_nn`): right at once, or among the five likeliest. The
library picks kernels by heuristics that differ from generation to generation and are published nowhere, so that a held-out generation is a guess: all batched
products of the A100 run with tiles of 128 x 128, which no other GPU does.

{_types(found)}

## Apart: the P4's linear layers

{_trap(found)}

## Sharing

The laws are published ones and `unvalidated` on every device (`gpus/sharings.py` names their sources). One public table has all three ways of sharing:
YOLOS-small on an A100 of 80 GB, pods that always run ([nos]({sharing_checks.SOURCE})). Each law starts from the time of one client; that one client holds
{sharing_checks.held_share():.2f} of the GPU under MPS follows from its time on a MIG instance, not from the numbers checked.

{_sharing()}

## What this does not show

* No network was ever timed on a GPU: a network's time is the sum of its kernels, each timed alone with its launch. Where a runtime launches ahead of the
  GPU, that sum is too long for networks of many small kernels. Intervals are those of kernels.
* No slice was measured. MIG instances and MPS shares follow from physics (whole waves of tiles over fewer multiprocessors, shares of bandwidth and cache); the
  interval reaches from the whole GPU to its share, and the answer is `extrapolated`.
* Operators without measurements (pooling, batch normalization, concatenation, grouped convolution, ...) go by their byte roofline and make the answer
  `extrapolated`, with their share of the time in its message. Convolutions other than 3 x 3 with stride one go as the matrix product that they are.
  Transposed convolutions, recurrent layers and every precision but float32 are unknown.
* What a launch costs is the host's more than the GPU's: the P100 of the tables sat in a host whose launches take half as long again, the V100 in one of a
  quarter more, which nothing published tells. Twenty samples tell it.
* No server on a GPU was measured under load: an answer with a load or with tenants is that of a queue and of a sharing law, and `unvalidated`. A service that
  asks for `minimumBasis: measured` or `extrapolated` is therefore kept off all GPUs of this bundle wherever its load counts.
"""


def write(datasets: Path, target: Path) -> None:
    """Renders the page from the committed predictions.

    Raises:
        DatasetRefused: they are missing or stale.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page(predictions.read(datasets / predictions.FOLDER / predictions.FILE)))
