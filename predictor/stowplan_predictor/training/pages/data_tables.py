"""Tables of a data card: what a data set holds, how well it repeats, how far profiles add up, what was fused."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from stowplan_predictor.training.campaigns import durations, generated_runs, isolated_lists, isolated_plans, isolated_runs, plans
from stowplan_predictor.training.campaigns.plans import Task
from stowplan_predictor.training.data import agreements, noise_floors, profiler_overheads
from stowplan_predictor.training.data.datasets import Dataset
from stowplan_predictor.training.data.generated_rows import IsolatedRow
from stowplan_predictor.training.data.profiler_overheads import Pair, ProfilerOverhead
from stowplan_predictor.training.judgements import parts
from stowplan_predictor.training.judgements.parts import FusionJudgement
from stowplan_predictor.training.pages.tables import Table
from stowplan_predictor.training.zoo import entries as zoo

_RUNTIME: Final = "runtime"
# Kernel types named of each round.
_TYPES_NAMED: Final = 6


def model_of(network: str) -> str:
    """The model that a zoo network is a variant of: its name without batch and size."""
    return network.rsplit("-b", 1)[0]


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def table(header: Iterable[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown; whole numbers in groups of three digits."""
    return Table(tuple(header), tuple(tuple(_count(cell) if isinstance(cell, int) else str(cell) for cell in row) for row in rows)).markdown()


def contents(data: Dataset) -> str:
    """Counts of everything."""
    zoo = [row for row in data.structures.values() if row.split == "zoo"]
    rows: list[Sequence[object]] = [
        ("published networks", len(zoo), f"{len({model_of(row.network) for row in zoo})} models of {len({row.family for row in zoo})} families"),
        ("light models of the onnx package", sum(row.split == "light" for row in data.structures.values()), "judgement only, never trained on"),
        ("random networks of the first generator", sum(row.split == "random" for row in data.structures.values()), "structures stored"),
    ]
    for kind, words in (("fnn", "fully connected"), ("cnn", "convolutional")):
        own = [row for row in data.randoms if row.kind == kind]
        rows.append((f"random {words} networks", len({row.network for row in own}), f"{len({row.family for row in own})} configurations of the generator"))
    rows.append(("isolated kernels", len({row.network for row in data.isolated}), f"{len({row.kernel for row in data.isolated})} kernel types"))
    profiled = len(data.kernels) + sum(len(row.op_types) for row in _once(data))
    rows.append(("kernel records", profiled, "profiled kernels of networks and isolated kernels"))
    rows.append(("visits", len(data.networks) + len(data.randoms) + len(data.isolated), "rows of end-to-end times"))
    rows.append(("pairs side by side", len(data.pairs) // 2, "degradation"))
    rows.append(("states of load", len(data.loads), "response times under Poisson arrivals"))
    return table(("what", "number", ""), rows)


def _once(data: Dataset) -> list[IsolatedRow]:
    """One row of each isolated kernel and slice: its visits share one profile."""
    return list({(row.network, row.slice): row for row in data.isolated}.values())


def slices(data: Dataset) -> str:
    """What was measured on each slice, and how noisy."""
    rows = []
    names = {row.slice for row in data.networks} | {row.slice for row in data.randoms} | {row.slice for row in data.isolated}
    for name in sorted(names):
        visited = [row for row in data.networks if row.slice == name]
        rows.append((
            f"`{name}`",
            len({row.network for row in visited if data.structures[row.network].split == "zoo"}),
            len({row.network for row in data.randoms if row.slice == name}),
            len({row.network for row in data.isolated if row.slice == name}),
            sum(row.slice == name for row in data.kernels),
            len(visited),
            f"{100 * sum(row.noisy for row in visited) / len(visited):.0f} %" if visited else "-",
        ))  # fmt: skip
    return table(("slice", "published networks", "random networks", "isolated kernels", "profiled kernels of networks", "visits to networks", "noisy"), rows)


def floors(data: Dataset) -> str:
    """Visits against one another."""
    slices = sorted({row.slice for row in data.networks})
    groups = (
        ("networks", noise_floors.floors([row for row in data.networks if row.repeat >= noise_floors.FIRST_VISIT], slices)),
        ("networks, earlier protocol", noise_floors.floors([row for row in data.networks if row.repeat < noise_floors.FIRST_VISIT], slices)),
        ("networks, all visits", {part: {"truth": both["truth"]} for part, both in noise_floors.floors(data.networks, slices).items() if "truth" in both}),
        ("random networks", noise_floors.floors(data.randoms, slices)),
    )
    words = {"median": "median of a visit", "lower_quartile": "lower quartile of a visit", "truth": "truth: quietest of half of the visits"}
    rows = [
        (what, f"`{part}`", words[figure], floor["retests"], *(f"{floor[f'{name}_percent']:.1f} %" for name in ("mean", "median", "p90")))
        for what, by_slice in groups
        for part, figures in by_slice.items()
        for figure, floor in figures.items()
    ]
    return table(("what", "slice", "compared", "retests", "MAPE", "median", "90th percentile"), rows)


def profiles(data: Dataset) -> str:
    """What the profiler adds, and which profiles agree with the runs next to them."""
    overheads = profiler_overheads.fit(data)
    generated = {row.network for row in data.isolated}
    grouped: dict[tuple[str, str], list[Pair]] = {}
    for pair in agreements.judged_pairs(data):
        grouped.setdefault((pair.slice, "isolated kernels" if pair.network in generated else "networks"), []).append(pair)
    rows = []
    for (part, what), pairs in sorted(grouped.items()):
        if part in overheads:
            found = agreements.agreement(pairs, overheads[part])
            kept = f"{100 * found.agreeing_kernels / found.kernels:.0f} %"
            rows.append((f"`{part}`", what, found.profiles, found.agreeing_profiles, found.above, found.below, found.kernels, found.agreeing_kernels, kept))
    header = ("slice", "of", "profiles", "agree", "above", "below", "kernels", "of agreeing profiles", "share")
    return _overheads(overheads) + "\n\n" + table(header, rows)


def hours() -> float:
    """What the whole plan takes on a machine that was never measured."""
    isolated = [Task("isolated", "", "cpu:1")] * isolated_runs.chunks(isolated_plans.TOTAL + sum(map(len, isolated_lists.drawn())))
    return durations.expected_hours([*plans.plan(zoo.entries(), generated_runs.tasks()), *isolated])


def rounds(data: Dataset) -> str:
    """Isolated kernels by round: why these, how many, and the types that most were dealt to."""
    rows: list[Sequence[object]] = []
    for told in sorted(data.provenance.get("isolated_rounds", ()), key=lambda told: told["round"]):
        own = [{row.network for row in data.isolated if row.slice == name and row.network.startswith(f"iso-{told['round']}-")} for name in ("cpu:1", "cpu:2")]
        dealt = sorted(told["counts"].items(), key=lambda item: (-item[1], item[0]))[:_TYPES_NAMED]
        rows.append((str(told["round"]), told["source"], sum(told["counts"].values()), *map(len, own), ", ".join(f"{name} {count}" for name, count in dealt)))
    return table(("round", "chosen by", "planned", "measured on `cpu:1`", "on `cpu:2`", "most of"), rows)


def _overheads(overheads: Mapping[str, ProfilerOverhead]) -> str:
    return "\n".join(
        f"* `{part}`: {one.kernel_us:.2f} us a kernel, {one.session_us:.1f} us a run outside kernels, from {_count(one.pairs)} profiles; the sum is then off "
        f"by {one.median_error_percent:.1f} % at the median, {one.uncorrected_median_error_percent:.1f} % without correction."
        for part, one in overheads.items()
    )


def fusion(folder: Path) -> str:
    """How many edges of the original graphs were found again in what the runtime runs."""
    if not (folder / parts.FOLDER / "fusion.parquet").exists():
        return "The optimised graphs were not laid on the originals yet."
    rows = [row for row in parts.read_judgements(folder, FusionJudgement) if row.system == _RUNTIME]
    if not rows:
        return "The optimised graphs were not laid on the originals yet."
    found = []
    for split in sorted({row.split for row in rows}):
        own = [row for row in rows if row.split == split]
        matched, eliminated, unmatched = (sum(getattr(row, name) for row in own) for name in ("edges", "eliminated", "unmatched"))
        rate = f"{100 * (matched + eliminated) / max(1, matched + eliminated + unmatched):.2f} %"
        found.append((split, len(own), matched, eliminated, unmatched, rate))
    return table(("split", "networks", "edges judged", "folded or eliminated", "unmatched", "match rate"), found)


def families(data: Dataset, folds: Mapping[str, int]) -> str:
    """Every family with its fold and models."""
    zoo = [row for row in data.structures.values() if row.split == "zoo"]
    rows = []
    for family in sorted({row.family for row in zoo}):
        own = [row for row in zoo if row.family == family]
        models = sorted({model_of(row.network) for row in own})
        sources = ", ".join(sorted({row.source.split(" ", maxsplit=1)[0] for row in own}))
        rows.append((family, str(folds[family]), len(own), sources, ", ".join(models)))
    return table(("family", "fold", "networks", "from", "models"), rows)


def left_out(reasons: Mapping[str, str]) -> str:
    """What could not be exported or measured, and why."""
    if not reasons:
        return "Nothing."
    return table(("what", "why"), [(name, " ".join(reason.split())[:160].replace("|", "/")) for name, reason in sorted(reasons.items())])
