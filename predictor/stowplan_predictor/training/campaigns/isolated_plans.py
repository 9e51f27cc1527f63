"""What to measure alone: `python -m stowplan_predictor.training.campaigns.isolated_plans` writes the specs of one more round into the campaign's folder.

`campaigns` itself plans the first two: round 0 takes its weights from the errors of the first kernel models (`isolated_errors.json`), round 1 is a list of
what published networks hold rarely (`isolated_lists`). Later rounds, planned by hand, take their weights from
`datasets/<device>/judgements/kernels.parquet`: where the model that was trained with the rounds before still errs. `campaigns` measures what it finds.
"""

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import onnx
from stowplan_fleet.errors import GraphRefused

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.fusion import rules
from stowplan_predictor.graphs import loading
from stowplan_predictor.measuring import structures
from stowplan_predictor.training.campaigns import isolated_cuts, isolated_lists, isolated_weights
from stowplan_predictor.training.campaigns.isolated_cuts import Cut
from stowplan_predictor.training.data import datasets
from stowplan_predictor.training.data.rows import StructureRow
from stowplan_predictor.training.generated import single_kernels
from stowplan_predictor.training.generated.single_kernels import Spec
from stowplan_predictor.training.judgements import parts
from stowplan_predictor.training.judgements.parts import KernelJudgement

FOLDER: Final = "isolated"
TOTAL: Final = 2000
# Draws of other sizes before a kernel is taken with its own.
_BENDS: Final = 4
# How often a draw may meet a kernel that is already there before a type counts as exhausted.
_DRAWS: Final = 6


@dataclass(frozen=True, slots=True)
class IsolatedPlan:
    """One round."""

    round: int
    source: str
    """Where the weights come from."""
    weights: Mapping[str, float]
    """Error times share of time, by kernel type."""
    counts: Mapping[str, int]
    """Kernels found, by type: fewer than dealt where published networks hold too few that can stand alone."""
    specs: tuple[str, ...]
    """As JSON, in an order that has a bit of every type first."""


def plan_path(work: Path, number: int) -> Path:
    """Where a round's plan lies."""
    return work / FOLDER / f"{number}.json"


def read_plans(work: Path) -> tuple[IsolatedPlan, ...]:
    """Every round that is planned.

    Raises:
        DatasetRefused: a file is malformed.
    """
    found = []
    for path in sorted((work / FOLDER).glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            found.append(IsolatedPlan(**(record | {"specs": tuple(record["specs"])})))
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetRefused(f"{path}: not a plan of this version: {error!r}; write it again with isolated_plans") from error
    return tuple(found)


def provenance(work: Path) -> list[dict[str, Any]]:
    """What a data set's provenance says about the rounds."""
    return [{"round": plan.round, "source": plan.source, "weights": dict(plan.weights), "counts": dict(plan.counts)} for plan in read_plans(work)]


def cuts_of(rows: Sequence[StructureRow]) -> list[Cut]:
    """Kernels of published networks that can stand alone; each shape once."""
    found: dict[str, Cut] = {}
    for row in rows:
        stripped = structures.unpack(row.structure)
        model = onnx.load_model_from_string(stripped)
        if row.split != "zoo" or not isolated_cuts.readable(model):
            continue
        try:
            graph = loading.load_graph(stripped, dict(zip(row.input_names, row.input_shapes, strict=True)))
        except GraphRefused:
            continue
        for cut in isolated_cuts.cuts(graph, rules.fuse(graph), isolated_cuts.known_values(model), row.network, row.family):
            record = json.loads(single_kernels.to_json(cut.spec))
            found.setdefault(json.dumps([record["family"], record["nodes"], record["inputs"], record["weights"]]), cut)
    return list(found.values())


def chosen(cuts: Sequence[Cut], counts: Mapping[str, int], errors: Mapping[tuple[str, int], float], seed: int) -> tuple[Spec, ...]:
    """Specs of each type: families in turns, the worst kernels of a family more often, sizes bent; no graph twice."""
    choose, seen = random.Random(f"isolated-{seed}"), set[str]()
    queues = []
    for kernel, count in counts.items():
        own: dict[str, list[Cut]] = {}
        for cut in cuts:
            if cut.spec.kernel == kernel:
                own.setdefault(cut.spec.family, []).append(cut)
        queues.append(_drawn(own, count, errors, choose, seen))
    longest = max((len(queue) for queue in queues), default=0)
    return tuple(queue[place] for place in range(longest) for queue in queues if place < len(queue))


def _drawn(families: Mapping[str, Sequence[Cut]], count: int, errors: Mapping[tuple[str, int], float], choose: random.Random, seen: set[str]) -> list[Spec]:
    found: list[Spec] = []
    names = sorted(families)
    # In the order of the alphabet, a type with fewer kernels than families would never come to the last of them.
    choose.shuffle(names)
    for attempt in range(count * _DRAWS if names else 0):
        if len(found) == count:
            break
        own = families[names[attempt % len(names)]]
        # A kernel that was never judged counts like a tenth of a wrong one.
        cut = choose.choices(own, [errors.get((item.spec.network, item.position), 0.1) + 0.01 for item in own])[0]
        spec = next((bent for bent in (isolated_cuts.bent(cut.spec, choose) for _ in range(_BENDS)) if bent is not None), cut.spec)
        digest = str(sorted(asdict(item)["shape"] for item in spec.inputs.values())) + str(spec.weights) + str(spec.nodes)
        if digest in seen or (spec is cut.spec and not isolated_cuts.is_alone(spec)):
            continue
        seen.add(digest)
        if isolated_cuts.runs(spec):
            found.append(spec)
    return found


def _first_sources() -> tuple[str, dict[str, float], dict[tuple[str, int], float]]:
    return *isolated_weights.first(), {}


def _later_sources(device: Path) -> tuple[str, dict[str, float], dict[tuple[str, int], float]]:
    types, kernels = isolated_weights.from_judgements(parts.read_judgements(device, KernelJudgement))
    return "held-out errors of judgements/kernels.parquet", types, kernels


def write_plan(work: Path, plan: IsolatedPlan) -> Path:
    """Writes a round's plan whole or not at all."""
    path = plan_path(work, plan.round)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(plan)), encoding="utf-8")
    temporary.replace(path)
    return path


def write_first(work: Path, rows: Sequence[StructureRow], total: int = TOTAL) -> tuple[Path, ...]:
    """Plans rounds 0 and 1, unless they are there: over these networks, and by the list; no data set is needed."""
    paths = plan_path(work, 0), plan_path(work, 1)
    if not paths[0].exists():
        write_plan(work, _planned(0, rows, _first_sources(), total, isolated_weights.LEAST))
    if not paths[1].exists():
        write_plan(work, listed(1))
    return paths


def listed(number: int) -> IsolatedPlan:
    """The list as a round."""
    specs = isolated_lists.specs()
    return IsolatedPlan(number, isolated_lists.SOURCE, {}, dict(Counter(spec.kernel for spec in specs)), tuple(map(single_kernels.to_json, specs)))


def _planned(
    number: int, rows: Sequence[StructureRow], sources: tuple[str, dict[str, float], dict[tuple[str, int], float]], total: int, least: int
) -> IsolatedPlan:
    source, weights, errors = sources
    specs = chosen(cuts_of(rows), isolated_weights.dealt(weights, total, least), errors, number)
    counts = {kernel: sum(spec.kernel == kernel for spec in specs) for kernel in weights}
    return IsolatedPlan(number, source, weights, counts, tuple(map(single_kernels.to_json, specs)))


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the plan of one more round."""
    parser = argparse.ArgumentParser(prog="isolated_plans", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", type=Path, required=True, help="datasets/<device>, whose networks kernels are cut out of")
    parser.add_argument("--work", type=Path, required=True, help="the campaign's folder")
    parser.add_argument("--total", type=int, default=TOTAL, help=f"kernels of the round, about (default {TOTAL})")
    parser.add_argument(
        "--least", type=int, default=isolated_weights.LEAST, help=f"kernels of each type at least, however rare it is (default {isolated_weights.LEAST})"
    )
    arguments = parser.parse_args(argv)
    number = max((plan.round for plan in read_plans(arguments.work)), default=1) + 1
    plan = _planned(
        number, datasets.read_rows(arguments.device / "structures.parquet", StructureRow), _later_sources(arguments.device), arguments.total, arguments.least
    )
    sys.stdout.write(f"{write_plan(arguments.work, plan)}: {len(plan.specs)} kernels: {dict(plan.counts)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
