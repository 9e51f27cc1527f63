"""What a campaign measures, and in which order: breadth first, so that a campaign that is cut short has a bit of everything."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from stowplan_predictor.training.zoo.entries import Entry

# Whole cores, and shares of one and of two: the slices of a small node.
WHOLE: Final = ("cpu:1", "cpu:2")
FRACTIONAL: Final = ("cpu:500m", "cpu:1500m")
# `repeat` of each visit, tens of minutes apart at best; every other one profiles.
VISITS: Final = (10, 20, 30, 40)
PROFILED_VISITS: Final = VISITS[::2]
# Models beyond the first of each family, and further sizes of models, that come before random networks on more than one core and before second visits.
_FIRST_MODELS: Final = 30
_FIRST_VARIANTS: Final = 10
UTILIZATIONS: Final = (0.3, 0.5, 0.7, 0.85)

# Diverse in what they strain: arithmetic, memory, dispatch; small and large; convolutional and attention.
_PAIRED: Final = (
    "mobilenet_v3_small-b1-s224", "mobilenet_v2-b1-s224", "resnet18-b1-s224", "resnet50-b1-s224", "alexnet-b1-s224", "densenet121-b1-s224",
    "efficientnet_b0-b1-s224", "squeezenet1_1-b1-s224", "vit_tiny_patch16_224-b1-s224", "bert-mini-b1-s64", "distilbert-b1-s64", "random-012",
)  # fmt: skip
_LOADED: Final = (
    "mobilenet_v3_small-b1-s224", "mobilenet_v2-b1-s224", "squeezenet1_1-b1-s224", "bert-mini-b1-s64", "efficientnet_b0-b1-s224", "shufflenet_v2_x1_0-b1-s224",
)  # fmt: skip
_FRACTIONED: Final = (
    "mobilenet_v3_small-b1-s224", "mobilenet_v2-b1-s224", "squeezenet1_1-b1-s224", "resnet18-b1-s224", "bert-mini-b1-s64", "efficientnet_b0-b1-s224",
    "shufflenet_v2_x1_0-b1-s224", "vit_tiny_patch16_224-b1-s224", "light_squeezenet", "distilbert-b1-s64", "convnext_atto-b1-s224", "ghostnet_100-b1-s224",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Task:
    """One measurement."""

    kind: str
    """One of `visit` (whole cores), `network` (a quota), `randoms`, `isolated` (chunks of random networks and of single kernels), `pair`, `load`."""
    network: str
    slice: str
    """Several joined by `+` where one process measures on each in turn."""
    repeat: int = 0
    tenant: str = ""
    tenant_slice: str = ""
    utilizations: tuple[float, ...] = ()
    seed: int = 0

    @property
    def key(self) -> str:
        """File name of its result: unique, and the same in every campaign."""
        parts = [self.kind, self.network, self.slice.replace(":", "-"), *((self.tenant, self.tenant_slice.replace(":", "-")) if self.tenant else ())]
        return "__".join([*parts, str(self.repeat)])


def _breadth_first(entries: Iterable[Entry]) -> tuple[list[Entry], list[Entry], list[Entry]]:
    """The first variant of each family's first model, of its other models (families taken in turns), and all other variants."""
    models: dict[str, dict[str, list[Entry]]] = {}
    for entry in entries:
        models.setdefault(entry.family, {}).setdefault(entry.model, []).append(entry)
    ranked = [(rank, variants) for family in models.values() for rank, variants in enumerate(family.values())]
    ranked.sort(key=lambda item: item[0])
    families = [variants[0] for rank, variants in ranked if rank == 0]
    others = [variants[0] for rank, variants in ranked if rank > 0]
    return families, others, [entry for _, variants in ranked for entry in variants[1:]]


def ordered(entries: Sequence[Entry]) -> list[Entry]:
    """All entries, the most wanted first: those that judge, then every family, every model, every variant; random networks last."""
    families, models, variants = _breadth_first(entry for entry in entries if entry.split == "zoo")
    rest = [entry for entry in entries if entry.split == "random"]
    return [*(entry for entry in entries if entry.split == "light"), *families, *models, *variants, *rest]


def woven(*lists: Sequence[Task], hurried: Sequence[Task] = ()) -> list[Task]:
    """The lists in one, each in its order and evenly spread, so that all of them are about equally far whenever time runs out.

    The `hurried` ones are all in the first half.
    """
    spread = [(tasks, 1.0) for tasks in lists] + [(hurried, 0.5)]
    placed = [(end * (position + 0.5) / len(tasks), number, task) for number, (tasks, end) in enumerate(spread) for position, task in enumerate(tasks)]
    return [task for _, _, task in sorted(placed, key=lambda item: item[:2])]


def pairs_of(names: Sequence[str]) -> list[tuple[str, str]]:
    """Each network with itself, its neighbour and every third further one: each meets many others without all combinations being needed."""
    steps = [0, *range(1, len(names) // 2 + 1, 2)]
    chosen = {tuple(sorted((position, (position + step) % len(names)))) for step in steps for position in range(len(names))}
    return [(names[first], names[second]) for first, second in sorted(chosen, key=lambda pair: ((pair[1] - pair[0]) % len(names), pair))]


def plan(entries: Sequence[Entry], randoms: Sequence[Task] = (), isolated: Sequence[Task] = ()) -> tuple[Task, ...]:
    """Every task of a campaign over these networks and the given chunks of others, most wanted first; tasks about networks that are not there are left out."""
    names = {entry.name for entry in entries}
    families, models, variants = _breadth_first(entry for entry in entries if entry.split == "zoo")
    light = [entry for entry in entries if entry.split == "light"]
    old_random = [entry for entry in entries if entry.split == "random"]
    one_core = [task for task in randoms if task.slice == WHOLE[0]]
    more_cores = [task for task in randoms if task.slice != WHOLE[0]]

    def visits(chosen: Iterable[Entry], rank: int) -> list[Task]:
        return [Task("visit", entry.name, "+".join(WHOLE), repeat=VISITS[rank]) for entry in chosen]

    def named(wanted: Iterable[str]) -> list[str]:
        return [name for name in wanted if name in names]

    pairs = [Task("pair", one, "cpu:1", tenant=two, tenant_slice="cpu:1") for one, two in pairs_of(named(_PAIRED))]
    loads = [Task("load", name, "cpu:1", utilizations=UTILIZATIONS, seed=seed) for seed, name in enumerate(named(_LOADED))]
    fractional = [Task("network", name, part) for part in FRACTIONAL for name in named(_FRACTIONED)]
    retested = [*light, *families, *models[:_FIRST_MODELS]]
    rest = [entry for entry in ordered(entries) if entry not in retested]
    return (
        *visits([*light, *families], 0),
        *woven(visits([*models[:_FIRST_MODELS], *variants[:_FIRST_VARIANTS]], 0), visits(retested, 1), hurried=one_core),
        *woven(visits([*models[_FIRST_MODELS:], *variants[_FIRST_VARIANTS:], *old_random], 0), isolated, fractional, more_cores, visits(retested, 2)),
        *loads, *pairs, *visits(rest, 1), *visits(rest, 2), *visits([*retested, *rest], 3),
    )  # fmt: skip
