"""Estimators: a bundle's kernel models behind one question, how efficiently some kernels run on some slices."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.kernels.features import FEATURES, feature_matrix
from stowplan_predictor.kernels.members import Batch, MemberTable, open_member
from stowplan_predictor.kernels.ranges import Ranges, TypeRange
from stowplan_predictor.kernels.regressors import Efficiencies
from stowplan_predictor.kernels.resources import SliceResources
from stowplan_predictor.kernels.subgraphs import NODES
from stowplan_predictor.kernels.workloads import Workloads

KERNELS: Final = "kernels.json"


@dataclass(frozen=True, slots=True)
class KernelTable:
    """What a bundle says about kernels."""

    features: tuple[str, ...]
    """The feature order it was trained with; must be FEATURES."""
    nodes: tuple[str, ...]
    """The node features it was trained with; must be NODES."""
    ranges: Mapping[str, TypeRange]
    """By kernel type, and the classes under LIGHT and HEAVY."""
    classes: Mapping[str, str]
    """LIGHT or HEAVY for every kernel type that was measured at all."""
    members: tuple[MemberTable, ...]
    """Models that answer together: the weighted mean of their log ratios."""

    def encoded(self) -> bytes:
        """As `kernels.json` holds it."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode()


class KernelEstimator:
    """All kernel models of a bundle. Thread-safe."""

    def __init__(self, table: KernelTable, files: Mapping[str, bytes]) -> None:
        """Opens every member.

        Raises:
            ValueError: a table of another version, or a file that cannot be opened.
        """
        if table.features != FEATURES or table.nodes != NODES:
            raise ValueError("its kernel models were trained on other features than this version computes; train the bundle again")
        if not table.members or not table.ranges:
            raise ValueError("it holds no kernel model")
        self.table = table
        self._ranges = Ranges(table.ranges, table.classes)
        self._members = [open_member(member, files) for member in table.members]
        weights = np.array([member.weight for member in table.members])
        if not (weights > 0).all():
            raise ValueError("a kernel model's weight is not above zero")
        self._weights = weights / weights.sum()

    def efficiencies(self, parts: Sequence[tuple[Workloads, SliceResources]]) -> list[Efficiencies | CannotJudge]:
        """Efficiency of the kernels of several graphs on several slices, all in one run of each member.

        A graph with a kernel nothing like which was measured is refused alone: its place holds the refusal.
        """
        matrices = [feature_matrix(work, slice_) for work, slice_ in parts]
        found: list[Efficiencies | CannotJudge | None] = [None] * len(parts)
        keys: list[tuple[str, ...]] = []
        for index, ((work, _), matrix) in enumerate(zip(parts, matrices, strict=True)):
            try:
                keys.append(tuple(map(self._ranges.key, work.types, work.names, matrix)))
            except CannotJudge as error:
                keys.append(())
                found[index] = error
        known = [index for index, outcome in enumerate(found) if outcome is None and parts[index][0].types]
        if known:
            together = self._judged([parts[i][0] for i in known], [keys[i] for i in known], [matrices[i] for i in known])
            ends = np.cumsum([len(keys[i]) for i in known]).tolist()
            for index, end in zip(known, ends, strict=True):
                found[index] = together.part(end - len(keys[index]), end)
        return [_NOTHING if outcome is None else outcome for outcome in found]

    def _batch(self, works: Sequence[Workloads], keys: Sequence[Sequence[str]], matrix: NDArray[np.float32]) -> Batch:
        flat = tuple(key for part in keys for key in part)
        types = tuple(str(kind) for work in works for kind in work.types)
        return Batch(tuple(works), types, flat, self._ranges.held(flat, matrix))

    def _judged(self, works: Sequence[Workloads], keys: Sequence[Sequence[str]], matrices: Sequence[NDArray[np.float32]]) -> Efficiencies:
        matrix = np.concatenate(matrices)
        batch = self._batch(works, keys, matrix)
        ratios = np.stack([member.log_ratio(batch) for member in self._members])
        return self._ranges.efficiencies(batch.types, batch.keys, matrix, self._weights @ ratios, np.ptp(ratios, axis=0))

    def runtime_types(self, work: Workloads, slice_: SliceResources) -> list[tuple[str, ...]]:
        """The five likeliest runtime kernels of each kernel, `Conv/com.microsoft.nchwc`, likeliest first; () where no member tells.

        Raises:
            CannotJudge: a kernel nothing like which was measured.
        """
        matrix = feature_matrix(work, slice_)
        batch = self._batch([work], [tuple(map(self._ranges.key, work.types, work.names, matrix))], matrix)
        answers = (member.runtime_types(batch) for member in self._members)
        return next((answer for answer in answers if any(answer)), [() for _ in work.types])


_NOTHING: Final = Efficiencies(np.zeros(0), np.zeros(0, dtype=np.bool_), np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0))


def open_kernels(kernels_json: bytes, files: Mapping[str, bytes]) -> KernelEstimator:
    """The kernel models of a bundle.

    Args:
        kernels_json: content of `kernels.json`.
        files: content of the bundle's files, by path.

    Raises:
        ValueError: not a table of kernels, one of another version, or a file that cannot be opened.
    """
    try:
        table = msgspec.json.decode(kernels_json, type=KernelTable)
    except msgspec.DecodeError as error:
        raise ValueError(f"{KERNELS}: {error}") from error
    return KernelEstimator(table, files)
