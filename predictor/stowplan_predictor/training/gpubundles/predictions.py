"""What was predicted of networks and pairs that were held out, as rows that are kept, with the trivial baselines and the noise beside them."""

import math
from dataclasses import dataclass

from stowplan_predictor.errors import DatasetRefused


def _above_zero(where: str, **numbers: float | None) -> None:
    for name, number in numbers.items():
        if number is not None and not (math.isfinite(number) and number > 0):
            raise DatasetRefused(f"{where}: {name} is {number}; it must be finite and above zero")


@dataclass(frozen=True, slots=True)
class NetworkPrediction:
    """A network on the whole GPU or a part of it, by models that saw no network of its family."""

    network: str
    family: str
    partition: str
    measured_ms: float
    predicted_ms: float
    public_ms: float
    """By the public bundle as it is: the sum of its kernels, each with its launch."""
    mean_ms: float | None
    """Geometric mean of the networks that taught; None on parts."""
    linear_ms: float | None
    """Line through FLOPs, of the networks that taught; None on parts."""
    whole_ms: float | None
    """Measured on the whole GPU: what a part would take that costs nothing; None on the whole GPU, or where it was not measured there."""
    share: float
    """Of the multiprocessors."""
    noise: float
    """Half of what lies between its 5th and its 95th percentile, over its median."""

    def __post_init__(self) -> None:
        _above_zero(f"{self.network} on {self.partition}", measured_ms=self.measured_ms, predicted_ms=self.predicted_ms, public_ms=self.public_ms,
                    mean_ms=self.mean_ms, linear_ms=self.linear_ms, whole_ms=self.whole_ms, share=self.share)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PairPrediction:
    """A network beside one that never rests, by what pairs without it showed."""

    subject: str
    neighbour: str
    sharing: str
    measured: float
    """Slowdown, over the mean of alone before and after."""
    predicted: float
    law: float
    """The published law as it is."""
    noise: float
    """By how much alone before and alone after differ, over their mean."""

    def __post_init__(self) -> None:
        _above_zero(f"{self.subject} beside {self.neighbour}", measured=self.measured, predicted=self.predicted, law=self.law)


@dataclass(frozen=True, slots=True)
class KernelError:
    """Kernels of a family on networks that were held out: mean absolute percentage error."""

    family: str
    kernels: int
    calibrated: float
    public: float
    """Under the rule for unknown GPUs."""
