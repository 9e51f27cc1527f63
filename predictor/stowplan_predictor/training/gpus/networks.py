"""Networks: the kernel graph network on kernels of one operator, and the published approach of the data's paper in its form.

* gnn: a kernel of one operator is a graph of one node, on which attention has nothing to attend to and pooling nothing to pool. What is left of the kernel
  graph network (`training.kernels.graph_networks`) is its node encoder, the features of device and slice joined to it, and its two heads: latency over physics,
  and the type of the kernel that ran. Loss: both added, as there.
* utilization: NeuSight (ASPLOS 2025; see `published.PAPER`) predicts the utilization of a tile as alpha - beta / waves, with alpha and beta from a small
  network, and multiplies the tile's roofline time by the waves. Its form is kept here, its features are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stowplan_predictor.gpus.features import CODES, FEATURES, PLAIN
from stowplan_predictor.gpus.tasks import Matrix
from stowplan_predictor.training.gpus.samples import Samples
from stowplan_predictor.training.gpus.systems import MOST_TYPES, Predict

_WIDTH: Final = 64
_EPOCHS: Final = 10
_BATCH: Final = 512
_RATE: Final = 4e-3
_DECAY: Final = 1e-2
_FARTHEST: Final = 4.0
# Of the two losses, how much the type counts.
_TYPE_WEIGHT: Final = 0.05
_WAVES: Final = FEATURES.index("log_waves_128x64")
# Kernels rarer than this have no class of their own.
_RAREST: Final = 20


class KernelNetwork(nn.Module):
    """Latency and type of kernels of one operator.

    Shapes:
        input: features (rows, PLAIN), kinds (rows,)
        output: log(latency / physics) (rows,), scores of kernel types (rows, types)
    """

    def __init__(self, features: NDArray[np.float32], types: int, *, tiles: bool) -> None:
        """Takes what features look like, how many types there are, and whether the latency is a utilization of tiles."""
        super().__init__()
        deviation = features.std(axis=0)
        self.register_buffer("mean", torch.from_numpy(features.mean(axis=0)))
        self.register_buffer("scale", torch.from_numpy(np.where(deviation < 1e-3, 1.0, deviation).astype(np.float32)))
        self.tiles = tiles
        self.kind = nn.Embedding(len(CODES), 12)
        self.enter = nn.Linear(PLAIN + 12, _WIDTH)
        self.hidden = nn.ModuleList(nn.Linear(_WIDTH, _WIDTH) for _ in range(2))
        self.latency = nn.Linear(_WIDTH, 2)
        self.classifier = nn.Linear(_WIDTH, types)

    def forward(self, features: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
        """See above."""
        standard = torch.clamp((features - self.mean) / self.scale, -_FARTHEST, _FARTHEST)
        x = torch.relu(self.enter(torch.cat([standard, self.kind(kinds)], dim=1)))
        for layer in self.hidden:
            x = x + torch.relu(layer(x))
        found = self.latency(x)
        if not self.tiles:
            return found[:, 0], self.classifier(x)
        waves = torch.clamp(torch.exp(features[:, _WAVES]), min=1.0)
        used = torch.sigmoid(found[:, 0] + 2.0) - torch.sigmoid(found[:, 1] - 2.0) / waves
        return -torch.log(torch.clamp(used, min=0.02)), self.classifier(x)


@dataclass(frozen=True)
class Fitted:
    """A network and the kernel types it tells apart."""

    network: KernelNetwork
    types: tuple[str, ...]

    def _asked(self, rows: Samples) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            found: tuple[Tensor, Tensor] = self.network(torch.from_numpy(rows.features[:, :PLAIN]), torch.from_numpy(rows.features[:, -1].astype(np.int64)))
        return found

    def __call__(self, rows: Samples) -> Matrix:
        """Log milliseconds of each row."""
        return np.asarray(self._asked(rows)[0].numpy().astype(np.float64) + np.log(rows.bound_ms))

    def likeliest(self, rows: Samples) -> list[tuple[str, ...]]:
        """The likeliest types of each row, likeliest first."""
        best = torch.topk(self._asked(rows)[1], min(MOST_TYPES, len(self.types)), dim=1).indices.numpy()
        return [tuple(self.types[index] for index in row) for row in best]


def classes(names: Sequence[str]) -> tuple[str, ...]:
    """Kernel types worth a class, the most frequent first."""
    found, counts = np.unique(np.asarray(names), return_counts=True)
    return tuple(str(name) for name, count in sorted(zip(found, counts, strict=True), key=lambda item: (-item[1], item[0])) if count >= _RAREST)


def fit(rows: Samples, *, tiles: bool = False, seed: int = 0) -> Fitted:
    """Trains on one core; the same rows and seed give the same network."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    types = classes(rows.table.names.tolist())
    number = {name: index for index, name in enumerate(types)}
    network = KernelNetwork(rows.features[:, :PLAIN], max(1, len(types)), tiles=tiles)
    features = torch.from_numpy(rows.features[:, :PLAIN])
    kinds = torch.from_numpy(rows.features[:, -1].astype(np.int64))
    target = torch.from_numpy((rows.log_ms - np.log(rows.bound_ms)).astype(np.float32))
    labels = torch.tensor([number.get(name, -1) for name in rows.table.names.tolist()])
    batches = -(-len(rows) // _BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=_EPOCHS * batches)
    for _ in range(_EPOCHS):
        for chosen in torch.randperm(len(rows)).split(_BATCH):
            latency, scores = network(features[chosen], kinds[chosen])
            loss = nn.functional.smooth_l1_loss(latency, target[chosen], beta=0.05)
            loss = loss + _TYPE_WEIGHT * nn.functional.cross_entropy(scores, labels[chosen], ignore_index=-1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()
    return Fitted(network, types)


def gnn(rows: Samples) -> Predict:
    """See above."""
    return fit(rows)


def utilization(rows: Samples) -> Predict:
    """See above."""
    return fit(rows, tiles=True).__call__
