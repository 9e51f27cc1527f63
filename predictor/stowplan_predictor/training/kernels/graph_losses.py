"""What a kernel graph network is wrong by: kernels' latencies, the types of kernel that the runtime ran, and (beyond the paper) the times of whole networks, to
which the kernels and a learned cost of dispatching them have to add up.
"""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from stowplan_predictor.kernels.features import FEATURES
from stowplan_predictor.training.kernels.graph_batches import Batches, Vocabulary, pieces
from stowplan_predictor.training.kernels.graph_networks import KernelNetwork
from stowplan_predictor.training.kernels.network_rows import NetworkRows
from stowplan_predictor.training.kernels.rows import KernelRows

_ROOFLINE: Final = FEATURES.index("log_roofline_ms")
# Of the loss of kernel types beside the kernels' latency loss.
_TYPE_WEIGHT: Final = 0.1
# Where squared errors become absolute ones: below this, a log error is the noise of the measurement.
_NOISE_LOG: Final = 0.1
# Where dispatching starts from: a third of a microsecond a kernel, ten a run; both are learned.
_DISPATCH_MS: Final = (0.0003, 0.01)


class Dispatch(nn.Module):
    """What a run costs beside its kernels: per kernel and per run, for one thread and for more."""

    def __init__(self) -> None:
        super().__init__()
        self.log_ms = nn.Parameter(torch.log(torch.tensor([_DISPATCH_MS, _DISPATCH_MS])))

    def forward(self, kernels: Tensor, threads: Tensor) -> Tensor:
        """Milliseconds (networks,) of runs of so many kernels on so many threads."""
        cost = torch.exp(self.log_ms)[torch.clamp(threads - 1, 0, 1)]
        return kernels * cost[:, 0] + cost[:, 1]


class Targets:
    """What profiled kernels took, and what ran."""

    def __init__(self, rows: KernelRows, words: Vocabulary) -> None:
        self.log_ratio = torch.from_numpy(rows.log_ratio.astype(np.float32))
        self.milliseconds = torch.from_numpy(np.exp(rows.log_ratio + rows.features[:, _ROOFLINE]).astype(np.float32))
        self.weight = torch.from_numpy((rows.weight / rows.weight.mean()).astype(np.float32))
        self.runtime = torch.from_numpy(words.runtime_codes(rows.runtime_types))


class Sums:
    """Networks as tensors."""

    def __init__(self, rows: NetworkRows, words: Vocabulary, joined_batches: Batches) -> None:
        self.rows = rows
        self.batches = joined_batches.beside(rows.types, rows.features, rows.subgraph, words)
        self.count = torch.from_numpy(rows.count.astype(np.float32))
        self.kernels = torch.from_numpy(rows.kernels.astype(np.float32))
        self.threads = torch.from_numpy(rows.threads)
        self.log_truth = torch.from_numpy(np.log(rows.truth_ms).astype(np.float32))

    def errors(self, network: KernelNetwork, dispatch: Dispatch, which: NDArray[np.int64]) -> Tensor:
        """log(predicted / measured) of some networks."""
        index, sizes = pieces(self.rows.starts, which)
        inputs = self.batches.inputs(index)
        ratio = network.answers(inputs)[0].reshape(-1)
        # Held within reason before the exponential: a first step's answer may be anything.
        ms = self.count[torch.from_numpy(index)] * torch.exp(torch.clamp(ratio, -8.0, 12.0) + inputs.features[:, _ROOFLINE])
        total = torch.zeros(len(which)).index_add(0, torch.from_numpy(np.repeat(np.arange(len(which)), sizes)), ms)
        chosen = torch.from_numpy(which)
        return torch.log(total + dispatch(self.kernels[chosen], self.threads[chosen])) - self.log_truth[chosen]


def kernel_loss(network: KernelNetwork, batches: Batches, rows: Targets, index: NDArray[np.int64]) -> Tensor:
    """Of some profiled kernels: latency, and the type of kernel that the runtime ran where it is known."""
    chosen = torch.from_numpy(index)
    runtime = rows.runtime[chosen]
    found, scores = network.answers(batches.inputs(index))
    if network.shape.raw:
        # Root mean square of milliseconds, as the paper's.
        latency = torch.sqrt(torch.mean((found.reshape(-1) - rows.milliseconds[chosen]) ** 2)) / network.spread
    else:
        losses = functional.smooth_l1_loss(found.reshape(-1), rows.log_ratio[chosen], beta=_NOISE_LOG, reduction="none")
        latency = torch.mean(rows.weight[chosen] * losses)
    known = runtime >= 0
    kinds = functional.cross_entropy(scores[known], runtime[known]) if bool(known.any()) else torch.zeros(())
    return latency + _TYPE_WEIGHT * kinds


def network_loss(errors: Tensor) -> Tensor:
    """Of log errors of whole networks."""
    return functional.smooth_l1_loss(errors, torch.zeros_like(errors), beta=_NOISE_LOG)
