"""Members: the kinds of kernel models that a bundle may hold, each from a batch of kernels to log(latency / roofline)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.kernels.features import FEATURES
from stowplan_predictor.kernels.forests import Forests
from stowplan_predictor.kernels.regressors import FeatureRegressor, groups, open_session
from stowplan_predictor.kernels.subgraphs import NODES, join
from stowplan_predictor.kernels.workloads import Workloads

BY_TYPE: Final = "by-type"
POOLED: Final = "pooled"
GRAPH: Final = "graph"
FORESTS: Final = "forests"
# Likeliest runtime kernels that are named.
_MOST_TYPES: Final = 5
_ANCHOR: Final = NODES.index("anchor")


@dataclass(frozen=True, slots=True)
class MemberTable:
    """What a bundle says about one model."""

    kind: str
    """BY_TYPE: one file a range; POOLED: one file for all types; GRAPH: a graph network over the kernels' insides; FORESTS: one file for all ranges."""
    files: Mapping[str, str]
    """By the range's key (BY_TYPE), else one file under the empty key."""
    weight: float = 1.0
    """Its part in the mean over all members."""
    types: tuple[str, ...] = ()
    """Kernel types in the order in which the model counts them: code 1 is the first, 0 one that is not here. Ranges' keys (FORESTS)."""
    operators: tuple[str, ...] = ()
    """Operator types in that manner (GRAPH)."""
    runtime_types: tuple[str, ...] = ()
    """What the classifier tells apart (GRAPH)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Kernels of several graphs on several slices: the rows of part 0, then those of part 1..."""

    works: tuple[Workloads, ...]
    types: tuple[str, ...]
    keys: tuple[str, ...]
    """Whose range holds for each row."""
    matrix: NDArray[np.float32]
    """Features within their ranges (rows, FEATURES)."""


class Member:
    """A model. Thread-safe: ONNX Runtime sessions are."""

    def log_ratio(self, batch: Batch) -> NDArray[np.float64]:
        """log(latency / roofline) of every row."""
        raise NotImplementedError

    def runtime_types(self, batch: Batch) -> list[tuple[str, ...]]:
        """The likeliest runtime kernels of every row, likeliest first; nothing where the model does not tell."""
        return [() for _ in batch.types]


class _ByType(Member):
    def __init__(self, table: MemberTable, files: Mapping[str, bytes]) -> None:
        self._models = {key: FeatureRegressor(files[path]) for key, path in table.files.items()}

    def log_ratio(self, batch: Batch) -> NDArray[np.float64]:
        found = np.empty(len(batch.types))
        for key, rows in groups(batch.keys).items():
            found[rows] = self._models[key].values(batch.matrix[rows])
        return found


def codes(names: Sequence[str], vocabulary: Mapping[str, int]) -> NDArray[np.int64]:
    """Number of each name; 0 for one that is not in the vocabulary."""
    return np.array([vocabulary.get(name, 0) for name in names], dtype=np.int64)


def vocabulary(names: Sequence[str]) -> dict[str, int]:
    """Numbers from 1."""
    return {name: number for number, name in enumerate(names, start=1)}


class _Pooled(Member):
    def __init__(self, table: MemberTable, files: Mapping[str, bytes]) -> None:
        self._model = FeatureRegressor(files[table.files[""]])
        self._types = vocabulary(table.types)

    def log_ratio(self, batch: Batch) -> NDArray[np.float64]:
        # A type too rare to be known goes by its class.
        names = [kind if kind in self._types else key for kind, key in zip(batch.types, batch.keys, strict=True)]
        return self._model.values(np.column_stack([batch.matrix, codes(names, self._types).astype(np.float32)]))


class _Forests(Member):
    def __init__(self, table: MemberTable, files: Mapping[str, bytes]) -> None:
        self._forests = Forests(files[table.files[""]], len(FEATURES))
        self._places = {key: place for place, key in enumerate(table.types)}
        if len(self._places) != self._forests.count:
            raise ValueError(f"{self._forests.count} forests for {len(self._places)} ranges")

    def log_ratio(self, batch: Batch) -> NDArray[np.float64]:
        return self._forests.values(batch.matrix, np.array([self._places[key] for key in batch.keys], dtype=np.int64))


def _anchors(work: Workloads) -> list[str]:
    """Type of the operator that does the main work of each kernel."""
    inside = work.subgraphs
    found = [""] * len(work.types)
    for node in np.flatnonzero(inside.nodes[:, _ANCHOR]):
        found[inside.owner[node]] = inside.types[node]
    return found


def _with_own(names: tuple[str, ...], own: str, *, known: bool) -> tuple[str, ...]:
    """Guesses with the operator itself among them: behind the others, but first for a type that is too rare to be known (it runs as what it is most often)."""
    others = [name for name in names if name != own]
    if not known:
        return (own, *others)[:_MOST_TYPES]
    return names if own in names else (*others[: _MOST_TYPES - 1], own)


class _Graph(Member):
    def __init__(self, table: MemberTable, files: Mapping[str, bytes]) -> None:
        self._session = open_session(files[table.files[""]])
        self._types = vocabulary(table.types)
        self._operators = vocabulary(table.operators)
        self._runtime_types = np.array(table.runtime_types)

    def _run(self, batch: Batch, output: str) -> NDArray[np.float32]:
        # The same graph on further slices is encoded once, and so are kernels that are alike.
        different = list({id(work): work for work in batch.works}.values())
        joined = join([work.subgraphs for work in different], [len(work.types) for work in different])
        places = {id(work): place for work, place in zip(different, joined.places, strict=True)}
        feed = {
            "nodes": joined.nodes,
            "operators": codes(joined.operators, self._operators),
            "owner": joined.owner,
            "edges": joined.edges,
            "subgraphs": np.zeros(joined.count, dtype=np.int64),
            "rows": np.concatenate([places[id(work)] for work in batch.works]),
            "types": codes(batch.types, self._types),
            "features": batch.matrix,
        }
        return np.asarray(self._session.run([output], feed)[0])

    def log_ratio(self, batch: Batch) -> NDArray[np.float64]:
        return self._run(batch, "log_ratio").astype(np.float64).reshape(-1)

    def runtime_types(self, batch: Batch) -> list[tuple[str, ...]]:
        order = np.argsort(-self._run(batch, "scores"), axis=1, kind="stable")[:, :_MOST_TYPES]
        likeliest = [tuple(str(name) for name in self._runtime_types[row]) for row in order]
        own = [name for work in batch.works for name in _anchors(work)]
        return [_with_own(names, name, known=kind in self._types) for names, name, kind in zip(likeliest, own, batch.types, strict=True)]


_KINDS: Final[Mapping[str, type[_ByType | _Pooled | _Graph | _Forests]]] = {
    BY_TYPE: _ByType,
    POOLED: _Pooled,
    GRAPH: _Graph,
    FORESTS: _Forests,
}


def open_member(table: MemberTable, files: Mapping[str, bytes]) -> Member:
    """Opens a model.

    Raises:
        ValueError: of a kind that this version does not know, a file that is missing, or one that the runtime cannot open.
    """
    kind = _KINDS.get(table.kind)
    if kind is None:
        raise ValueError(f"a kernel model of kind {table.kind!r}; this version knows {', '.join(_KINDS)}")
    if missing := sorted(set(table.files.values()) - files.keys()):
        raise ValueError(f"the kernel model's file {missing[0]} is missing")
    return kind(table, files)
