"""Estimators: a bundle's kernel models behind one question, how long some kernels take on some slices of GPUs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from stowplan_fleet.gpus.catalogue import find

from stowplan_predictor.gpus.features import FEATURES, codes, feature_matrix
from stowplan_predictor.gpus.figures import Figures, MeasuredGpu, figures_of
from stowplan_predictor.gpus.machines import Machine, Place, machine_of
from stowplan_predictor.gpus.measurements import NetworkLaw, SharingLaw
from stowplan_predictor.gpus.rooflines import bounds
from stowplan_predictor.gpus.tasks import BYTES, FAMILIES, KINDS, Matrix, Tasks
from stowplan_predictor.kernels.intervals import LogInterval
from stowplan_predictor.kernels.regressors import FeatureRegressor

TABLE: Final = "gpus.json"


@dataclass(frozen=True, slots=True)
class FamilyTable:
    """What a bundle says about one family of kernels."""

    file: str
    """ONNX: features and, behind them, the number of the kind (n, len(FEATURES) + 1) float32 to log(latency / bound) (n, 1)."""
    lower: float
    """Least value that was learned from; what the model says never leaves the range."""
    upper: float
    seen: LogInterval
    """Of log(measured / predicted) on shapes that were held out, on GPUs that were not."""
    unseen: LogInterval
    """The same on GPUs that were held out."""


@dataclass(frozen=True, slots=True)
class GpuTable:
    """What a bundle says about GPUs."""

    features: tuple[str, ...]
    """Must be FEATURES."""
    kinds: tuple[str, ...]
    """Must be KINDS, in that order."""
    gpus: tuple[MeasuredGpu, ...]
    families: Mapping[str, FamilyTable]
    unmeasured: LogInterval
    """Of log(measured / byte roofline) on kinds that were treated as if nobody had measured them, on GPUs that were held out."""
    coverage: float
    networks: NetworkLaw | None = None
    """What networks on a GPU taught; None where only single kernels were measured."""
    sharings: tuple[SharingLaw, ...] = ()
    """What neighbours on a GPU taught."""

    def encoded(self) -> bytes:
        """As `gpus.json` holds it."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode()


@dataclass(frozen=True, slots=True)
class Known:
    """Figures of a GPU, and where they are from."""

    figures: Figures
    measured: bool
    """True where kernels were measured on that very model."""
    reason: str
    """Why not, where they were not; else empty."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of some kernels on one slice."""

    whole_ms: Matrix
    """On the whole GPU."""
    part_ms: Matrix
    """On the slice."""
    launch_ms: Matrix
    """Of it, while the GPU computes nothing."""
    families: NDArray[np.str_]
    known: Known


class GpuEstimator:
    """All kernel models of a bundle. Thread-safe: ONNX Runtime sessions are."""

    def __init__(self, table: GpuTable, files: Mapping[str, bytes]) -> None:
        """Opens the models.

        Raises:
            ValueError: a table of another version, a GPU that the catalogue does not know, or a file that cannot be opened.
        """
        if table.features != FEATURES or table.kinds != tuple(KINDS):
            raise ValueError("its kernel models were trained on other features than this version computes; train the bundle again")
        if set(table.families) != set(FAMILIES) or not table.gpus:
            raise ValueError(f"it must name models of {', '.join(FAMILIES)}, and the GPUs that were measured")
        self.table = table
        self._models = {family: FeatureRegressor(files[one.file]) for family, one in table.families.items()}
        self._measured: list[tuple[Machine, Figures]] = []
        for one in table.gpus:
            gpu = find(one.product)
            if gpu is None:
                raise ValueError(f"GPU {one.product} is not in the catalogue")
            self._measured.append((machine_of(gpu), one.figures))

    def known(self, machine: Machine) -> Known:
        """What a GPU reaches of its peaks: measured, or by rule."""
        for other, figures in self._measured:
            if other.product == machine.product:
                return Known(figures, measured=True, reason="")
        for other, figures in self._measured:
            if other.generation == machine.generation and other.multiprocessors == machine.multiprocessors:
                return Known(figures, measured=False, reason=f"no kernel was measured on {machine.product}: it is taken for a {other.product}, the same chip")
        names = ", ".join(dict.fromkeys(other.product for other, _ in self._measured))
        return Known(figures_of(machine, self._measured), measured=False, reason=f"no kernel was measured on {machine.product}, only on {names}")

    def estimates(self, parts: Sequence[tuple[Tasks, Place]]) -> list[Estimate]:
        """Of several graphs on several slices, all in one run of each model."""
        known = [self.known(where.whole) for _, where in parts]
        matrices = [
            np.column_stack([feature_matrix(tasks, where.whole, one.figures), codes(tasks)]).astype(np.float32)
            for (tasks, where), one in zip(parts, known, strict=True)
        ]
        matrix = np.concatenate(matrices) if matrices else np.zeros((0, len(FEATURES) + 1), np.float32)
        kinds = [kind for tasks, _ in parts for kind in tasks.kinds]
        ratios = self._log_ratios(kinds, matrix)
        ends = np.cumsum([len(tasks.kinds) for tasks, _ in parts]).tolist()
        return [
            _estimate(tasks, where, one, ratios[end - len(tasks.kinds) : end]) for (tasks, where), one, end in zip(parts, known, ends, strict=True)
        ]  # fmt: skip

    def _log_ratios(self, kinds: Sequence[str], matrix: NDArray[np.float32]) -> Matrix:
        """log(latency / bound) on whole GPUs; 0 where nobody measured: the bound itself."""
        found = np.zeros(len(kinds))
        families = np.array([KINDS.get(kind, BYTES) for kind in kinds])
        for family, model in self._models.items():
            rows = np.flatnonzero(families == family)
            if len(rows):
                table = self.table.families[family]
                found[rows] = np.clip(model.values(matrix[rows]), table.lower, table.upper)
        return found


def _estimate(tasks: Tasks, where: Place, known: Known, log_ratio: Matrix) -> Estimate:
    whole = bounds(tasks, where.whole, known.figures)
    whole_ms = whole.smooth_ms * np.exp(log_ratio)
    # Learned on whole GPUs only: a slice is slower by as much as physics says, whole waves of tiles and all.
    part = bounds(tasks, where.part, known.figures) if where.cut else whole
    part_ms = whole_ms * part.whole_waves_ms / whole.whole_waves_ms
    families = np.array([KINDS.get(kind, BYTES) for kind in tasks.kinds])
    return Estimate(whole_ms, part_ms, np.minimum(whole.launch, part_ms), families, known)


def open_table(gpus_json: bytes) -> GpuTable:
    """Reads `gpus.json`.

    Raises:
        ValueError: not a table of GPUs.
    """
    try:
        return msgspec.json.decode(gpus_json, type=GpuTable)
    except msgspec.DecodeError as error:
        raise ValueError(f"{TABLE}: {error}") from error
