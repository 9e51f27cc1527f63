"""Sections of `docs/accuracy.md` on what lies below and beyond a network alone: fusion, kernel types, kernels, pairs and loads."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from stowplan_predictor.training.judgements.parts import FusionJudgement, TypeJudgement
from stowplan_predictor.training.judgements.scores import share
from stowplan_predictor.training.pages.bars import Shares
from stowplan_predictor.training.pages.sources import SYSTEMS, Evidence
from stowplan_predictor.training.pages.tables import Table

# Ways of fusing and naming types, in the words of the page.
FUSIONS: Final[Mapping[str, str]] = {
    "gat-lstm": "GAT + LSTM",
    "gat-mlp": "GAT without the LSTM",
    "gat": "GAT without the LSTM",
    "rules-gat-lstm": "rules corrected by GAT + LSTM",
    "rules": "rules of the runtime, written as data",
    "runtime": "*oracle: the runtime's own optimiser*",
}
_RULES: Final = "rules"
_SPLITS: Final = ("zoo", "light", "fnn", "cnn", "random")
_PAIR_SCORE: Final = ("cases", "MAPE", "95 % range", "median error", "within 10 %", "rank correlation")


def _cells(found: tuple[float, float, float]) -> tuple[str, str]:
    return f"{found[0]:.2f} %", f"{found[1]:.2f} to {found[2]:.2f}"


def _grouped(rows: Iterable[FusionJudgement] | Iterable[TypeJudgement], systems: Iterable[str]) -> list[tuple[str, str, list[Any]]]:
    """Split, system and rows, in the order of the page."""
    everything: list[FusionJudgement | TypeJudgement] = list(rows)
    known = list(systems)
    order = known + sorted({row.system for row in everything} - set(known))
    found = ((split, system, [row for row in everything if row.split == split and row.system == system]) for split in _SPLITS for system in order)
    return [item for item in found if item[2]]


def _fusion_row(split: str, system: str, own: Sequence[FusionJudgement]) -> tuple[str, ...]:
    families = [row.family for row in own]
    edges, kernels = sum(row.edges for row in own), sum(row.kernels for row in own)
    accuracy = _cells(share([row.edges_right for row in own], families, [row.edges for row in own])) if edges else ("-", "-")
    whole = _cells(share([row.kernels_right for row in own], families, [row.kernels for row in own])) if kernels else ("-", "-")
    return (split, FUSIONS.get(system, system), str(len(own)), str(edges), *accuracy, str(kernels), *whole)


def fusion(rows: Sequence[FusionJudgement], served: str) -> str:
    """Edges and whole kernels against what the runtime really fused."""
    if not rows:
        return "## Fusion\n\nNot judged yet."
    table = Table(
        ("judged on", "system", "networks", "edges", "edge accuracy", "95 % range", "kernels", "recovered whole", "95 % range"),
        tuple(_fusion_row(*item) for item in _grouped(rows, FUSIONS)),
    )
    once = {(row.split, row.network): row for row in rows}.values()
    counts = {name: sum(getattr(row, name) for row in once) for name in ("edges", "eliminated", "unmatched")}
    every = sum(counts.values())
    return f"""## Fusion

Against the graph that ONNX Runtime really runs, families held out. Of {every} edges the optimised graph judges {counts["edges"]}; {counts["eliminated"]} are
left out because one of their ends does no work any more, {counts["unmatched"]} because it does not say: a match rate of
{100 * (1 - counts["unmatched"] / every):.2f} %. A kernel is recovered whole where it has the same operators, no more and no fewer.
The rules learn nothing: they were corrected while people looked at these networks, so their figure is no promise for families nobody looked at, as the
learned ones' is (`docs/error-analysis.md` says how they did at first contact).
The bundle serves: {FUSIONS.get(served, served)}.

{table.markdown()}"""


def _type_row(split: str, system: str, own: Sequence[TypeJudgement]) -> tuple[str, ...]:
    families, kernels = [row.family for row in own], [row.kernels for row in own]
    top1, top5 = (_cells(share([getattr(row, name) for row in own], families, kernels)) for name in ("top1", "top5"))
    return (split, system, str(sum(kernels)), *top1, *top5)


def types(rows: Sequence[TypeJudgement]) -> str:
    """How often the type of a kernel was named."""
    judged = [row for row in rows if row.kernels]
    if not judged:
        return "## Kernel types\n\nNot judged yet."
    table = Table(
        ("judged on", "system", "kernels", "top-1", "95 % range", "top-5", "95 % range"),
        tuple(_type_row(*item) for item in _grouped(judged, ())),
    )
    return f"""## Kernel types

Which kernel the runtime runs for a group of operators, named by the second head of the network that predicts its latency; families held out.

{table.markdown()}"""


def shares(evidence: Evidence) -> Shares:
    """What the table of bars shows of these stages, on published networks."""
    edges = [row for row in evidence.fusion if row.system == evidence.fusion_served and row.split == "zoo" and row.edges]
    kinds = [row for row in evidence.types if row.system == "gnn" and row.split == "zoo" and row.kernels]
    kernels = sum(row.kernels for row in kinds)
    return Shares(
        edges=100 * sum(row.edges_right for row in edges) / sum(row.edges for row in edges) if edges else None,
        edges_by="rules, corrected on these networks" if evidence.fusion_served == _RULES else FUSIONS.get(evidence.fusion_served, evidence.fusion_served),
        top1=100 * sum(row.top1 for row in kinds) / kernels if kernels else None,
        top5=100 * sum(row.top5 for row in kinds) / kernels if kernels else None,
    )


def _fired(found: Mapping[str, Any]) -> str:
    fired, of = int(found["fired"]), int(found["of"])
    return f"{fired} of {of} ({100 * fired / of:.1f} %)" if of else "none asked"


def out_of_distribution(found: Mapping[str, Any]) -> str:
    """The flag, from the manifest."""
    if not found:
        return "## The out-of-distribution flag\n\nNot judged yet."
    rows = [(f"{split}, families held out", "silent", _fired(own)) for split, own in sorted(found["held_out_families"].items())]
    strange = found.get("held_out_families_of_unmeasured_types", {})
    rows += [(f"{split}, families held out, with kernels of a type in no other fold", "fire", _fired(own)) for split, own in sorted(strange.items())]
    rows.append(("kernel types held out completely", "fire", _fired(found["types_held_out_completely"])))
    rows += [(f"{split}, every size ten times wider", "fire", _fired(own)) for split, own in sorted(found["ten_times_wider"].items())]
    return f"""## The out-of-distribution flag

An answer far from everything measured is called `extrapolated` and its interval is widened. The flag is checked on networks whose families were held out,
where it should stay silent (its threshold was set by the other folds), and on what it never saw, where it should fire. A held-out network with kernels of a
type that no other fold holds is one that was never seen, and counted there.

{Table(("networks", "should", "fires on"), tuple(rows)).markdown()}"""


def calibration(found: Mapping[str, Any]) -> str:
    """What anchors are worth, where a slice stands in for a machine."""
    if not found:
        return "## After a calibration\n\nNot judged yet."
    rows = tuple(
        (f"{found['calibrated_for']}, {name} the calibration", str(own["cases"]), f"{own['mape_percent']:.1f} %", f"{own['median_ape_percent']:.1f} %",
         f"{own['within_10_percent']:.0f} %")
        for name, own in (("before", found["before"]), ("after", found["after"]))
    )  # fmt: skip
    return f"""## After a calibration

No second machine was measured. A slice stands in for one: models ({SYSTEMS.get(found["system"], found["system"])}) that learned from
`{found["learned_from"]}` alone are asked about `{found["calibrated_for"]}`, families held out over {found["folds"]} folds, before and after offsets from at
most {found["anchors"]} isolated kernels measured there
(`python -m stowplan_predictor.training.calibration.checks`). It shows what anchors can repair; it is no figure of how bundles do on another machine.

{Table(("published networks", "cases", "MAPE", "median error", "within 10 %"), rows).markdown()}"""


def _told(found: Mapping[str, Any]) -> tuple[str, ...]:
    """A score as a manifest holds it."""
    return (
        str(found["cases"]),
        f"{found['mape_percent']:.1f} %",
        f"{found['mape_low_percent']:.1f} to {found['mape_high_percent']:.1f}",
        f"{found['median_ape_percent']:.1f} %",
        f"{found['within_10_percent']:.0f} %",
        f"{found['rank_correlation']:.3f}",
    )


def colocation(found: Mapping[str, Any]) -> str:
    """Pairs, from the manifest."""
    rows = (
        ("slowdown", *_told(found["slowdown"])),
        ("floor: mean slowdown", *_told(found["floor"]["mean_slowdown"])),
        ("floor: no slowdown", *_told(found["floor"]["no_slowdown"])),
        ("service time beside a tenant", *_told(found["service_time_beside"])),
    )
    measured = found["measured_slowdown"]
    return f"""## Beside a tenant

Pairs of networks, each in closed loop on a core of its own; families of subject and tenant held out.
The measured slowdown has a median of {measured["median"]:.3f} and reaches {measured["largest"]:.3f}.

{Table(("what", *_PAIR_SCORE), rows).markdown()}"""


def response(found: Mapping[str, Any]) -> str:
    """Loads, from the manifest."""
    rows = []
    for percentile, own in sorted(found["by_percentile"].items(), key=lambda item: int(item[0])):
        rows.append((f"p{percentile}", *_told(own)))
        rows.append((f"p{percentile}, floor: nobody ever waits", *_told(own["floor_no_waiting"])))
    return f"""## Under load

{found["formula"]}, given the inference time and the overhead measured in the same session, against a real server under open-loop Poisson arrivals.

{Table(("percentile", *_PAIR_SCORE), tuple(rows)).markdown()}"""
