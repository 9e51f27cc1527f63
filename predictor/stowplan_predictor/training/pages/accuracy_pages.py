"""The page `docs/accuracy.md`, rendered from what is committed: nothing is measured and nothing is trained here."""

from collections.abc import Sequence
from typing import Final

from stowplan_predictor.training.pages import rankings
from stowplan_predictor.training.pages import stages as accuracy_stages
from stowplan_predictor.training.pages.bars import PUBLISHED_RANDOM, SERVED, bar_table
from stowplan_predictor.training.pages.blames import by_type, worst
from stowplan_predictor.training.pages.figures import AGAIN, Figure, figures, groups, oracles
from stowplan_predictor.training.pages.sources import RIVALS, SYSTEMS, Evidence
from stowplan_predictor.training.pages.tables import blame_table, main_table, network_table, percent, random_table, type_table
from stowplan_predictor.training.pages.truths import is_fractional

# In this order; light models have a section of their own.
JUDGED: Final = ("zoo", "fnn", "cnn", "random")
_WORST: Final = 10
_ELSEWHERE: Final = (SERVED, "linear", "mean", AGAIN)


def all_figures(evidence: Evidence) -> list[Figure]:
    """Every row of the main table."""
    found: list[Figure] = []
    for group in groups(evidence.truths, JUDGED):
        found += figures(group, evidence.truths, evidence.predictions)
        found += oracles(group, evidence.truths)
    return found


def _of(found: Sequence[Figure], system: str, split: str, slice_: str) -> Figure | None:
    return next((item for item in found if (item.system, item.group.split, item.group.slice) == (system, split, slice_)), None)


def _sentence(found: Sequence[Figure], slice_: str) -> str:
    """The served system on published networks, beside its best rival and the noise."""
    own = _of(found, SERVED, "zoo", slice_)
    if own is None:
        return f"* `{slice_}`: what the bundle serves was not judged on published networks yet."
    score = own.score
    text = (
        f"* `{slice_}`: off by **{percent(score.mape_percent)}** on average (95 % range {score.mape_low_percent:.1f} to {score.mape_high_percent:.1f}), "
        f"half of the networks by less than {percent(score.median_ape_percent)}; {score.within_10_percent:.0f} % within ±10 %, "
        f"{score.within_5_percent:.0f} % within ±5 %."
    )
    rivals = [item for item in found if item.group == own.group and item.system in RIVALS]
    if rivals:
        best = min(rivals, key=lambda item: item.score.mape_percent)
        text += f" Best of the rivals: {SYSTEMS[best.system]} with {percent(best.score.mape_percent)}."
    again = _of(found, AGAIN, "zoo", slice_)
    if again is not None:
        text += (
            f" The noise: half of the visits against the other half, {again.score.cases} networks differ from themselves by "
            f"{percent(again.score.mape_percent)} on average, {percent(again.score.median_ape_percent)} at the median."
        )
    return text


def _summary(found: Sequence[Figure]) -> str:
    slices = sorted({item.group.slice for item in found if item.group.split == "zoo" and not is_fractional(item.group.slice)})
    return "On published networks, each predicted by models that never saw a network of its family:\n\n" + "\n".join(_sentence(found, name) for name in slices)


def _is_main(item: Figure) -> bool:
    """Whether a figure belongs to the main table: whole cores, and networks that somebody else judges by as well."""
    return item.group.split != "random" and not is_fractional(item.group.slice)


def _elsewhere(found: Sequence[Figure]) -> str:
    """Slices under a quota, and the random networks that were drawn to teach rare kernels."""
    shown = [item for item in found if not _is_main(item) and item.system in _ELSEWHERE]
    if not shown:
        return ""
    return f"""## Under a quota, and other random networks

Fewer networks were measured under a quota; the other random networks were drawn to hold kernels that published ones seldom have, some run for microseconds.

{main_table(shown, SYSTEMS).markdown()}"""


def _light(evidence: Evidence) -> str:
    cases = sorted((truth for truth in evidence.truths.values() if truth.split == "light"), key=lambda truth: (truth.slice, truth.network))
    rows = evidence.predictions.get(SERVED, {})
    found = [item for group in groups(evidence.truths, ("light",)) for item in figures(group, evidence.truths, evidence.predictions)]
    return f"""## The light models of the onnx package

Predicted by models that were trained without them and without any network of their families. They train nothing, but people looked at them while the first
version was developed: seeing that local response normalisation was never measured, random networks that hold it were added to what is learned from.
`noisy` marks truths of which not even the quietest visit stayed within the limits; none is left out.

{main_table(found, SYSTEMS).markdown()}

{network_table([(truth, rows.get(truth.case)) for truth in cases]).markdown()}"""


def _worst(evidence: Evidence) -> str:
    kernels = [kernel for kernel in evidence.kernels if kernel.system == SERVED]
    blames = worst(_WORST, evidence.truths, evidence.predictions.get(SERVED, {}), kernels, "zoo")
    if not blames:
        return "## The ten worst networks\n\nNot judged yet."
    return f"""## The ten worst networks

Published networks with the largest relative errors of what the bundle serves, families held out, each on the slice where it is worst. `its kernels`
compares the profiled kernels with the predictions of the same kernels; where the two agree and the network is still wrong, the rest lies between kernels, or
the profile disagrees with the run. What was done about them: `docs/error-analysis.md`.

{blame_table(blames).markdown()}"""


def _kernels(evidence: Evidence) -> str:
    kernels = [kernel for kernel in evidence.kernels if kernel.system == SERVED and kernel.split == "zoo"]
    if not any(kernel.measured_ms is not None for kernel in kernels):
        return "## Kernels by type\n\nNot judged yet."
    return f"""## Kernels by type

Each kernel of a published network against the runtime's profiler, families held out. The smallest take microseconds: their relative errors are large and cost
little, see their share of the time.

{type_table(by_type(kernels)).markdown()}"""


def _method(evidence: Evidence) -> str:
    measured = evidence.provenance
    versions = ", ".join(f"{name} {version}" for name, version in sorted(measured["versions"].items()))
    families = {split: len({truth.family for truth in evidence.truths.values() if truth.split == split}) for split in JUDGED}
    networks = {split: len({truth.network for truth in evidence.truths.values() if truth.split == split}) for split in JUDGED}
    counted = ", ".join(f"{networks[split]} {split} in {families[split]} families" for split in JUDGED if networks[split])
    stale = "" if evidence.bundle_is_current else " It was trained on an earlier state of this data set than the figures above."
    return f"""## How it was judged

* **Networks**: {counted}. A random network's family is its generator's configuration. Measured on `{evidence.device}`
  ({measured["cpu"]}, {measured["cores"]} cores, {measured["system"]}) from {measured["date"]["first"]} to {measured["date"]["last"]}; {versions}.
* **Truth**: the median of the quietest visit (under a quota its mean), without the profiler. The machine is virtual: other guests only ever slow a visit.
* **Folds**: five over whole families, in `datasets/splits.json`. What is chosen by figures (stopping, blending, which system serves) was chosen for each fold
  on the other folds. Each prediction lies in `datasets/{evidence.device}/predictions`; the page is rendered from there and from the measured tables.
* **Who looked**: people saw errors on held-out families while features, rules of fusion and the kinds of isolated kernels were thought out, on parts of this
  data. No model saw them, but the figures are not as blind as those of a first and only trial.
* **MAPE** is the mean of |predicted - measured| / measured. Ranges are 95 % percentile bootstraps over families. A network that a system refuses counts as
  a miss in every share.
* **Second machine**: none was measured; nothing is claimed of how calibrated bundles do elsewhere. GPUs: `docs/gpu-accuracy.md`.
* **Bundle**: `{evidence.manifest.name}@{evidence.manifest.version}`.{stale} The sections on pairs and loads are from its manifest."""


def render(evidence: Evidence, found: Sequence[Figure]) -> str:
    """The page.

    Args:
        evidence: everything it shows.
        found: `all_figures` of it.
    """
    randoms = [item for item in found if item.group.split in PUBLISHED_RANDOM]
    parts = [
        "<!-- Generated by `stowplan evaluate`; do not edit. -->",
        "# Accuracy",
        _summary(found),
        "## Bars and goals",
        bar_table(found, accuracy_stages.shares(evidence)).markdown(),
        "## The table",
        "Families held out. `within` and `held` count networks that a system refuses as misses. Two rows are no systems. The oracle sums a network's own\n"
        "profiled kernels, less what the profiler adds, and is held against the run beside the profile: what a perfect kernel model would still get wrong.\n"
        "The noise holds two halves of the visits against each other; the truth is the quietest of all visits, so its own error is somewhat less.\n"
        "`stowplan` is the recipe, its choice included: for each fold it takes the kernel system that is best on the other folds. The bundle serves the one\n"
        f"that is best on all: {SYSTEMS.get(evidence.kernels_served, evidence.kernels_served)}.",
        main_table([item for item in found if _is_main(item)], SYSTEMS).markdown(),
        rankings.section([item for item in found if _is_main(item)], evidence.manifest.models["kernels"]),
        _elsewhere(found),
        "## Random networks beside the papers",
        "The papers' 0.132, 0.095 and 0.046 are mean absolute errors over the mean latency of their test sets (milliseconds of other machines do not\n"
        "compare). The other measure is the error of the one who always says the mean of the other folds; the bars above use it.",
        random_table(randoms, SYSTEMS, PUBLISHED_RANDOM).markdown() if randoms else "Not measured yet.",
        accuracy_stages.fusion(evidence.fusion, evidence.fusion_served),
        accuracy_stages.types(evidence.types),
        _worst(evidence),
        _light(evidence),
        _kernels(evidence),
        accuracy_stages.out_of_distribution(evidence.manifest.errors.get("out_of_distribution", {})),
        accuracy_stages.calibration(evidence.calibration),
        accuracy_stages.colocation(evidence.manifest.errors["colocation"]),
        accuracy_stages.response(evidence.manifest.errors["response"]),
        _method(evidence),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"
