"""One kernel graph network on its way: batches drawn at random, a rate that rises and falls, and the weights kept that err least on families held out."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stowplan_predictor.training.kernels.graph_batches import Batches, Vocabulary
from stowplan_predictor.training.kernels.graph_losses import Dispatch, Sums, Targets, kernel_loss, network_loss
from stowplan_predictor.training.kernels.graph_networks import KernelNetwork, Shape
from stowplan_predictor.training.kernels.held_families import held_names
from stowplan_predictor.training.kernels.network_rows import NetworkRows
from stowplan_predictor.training.kernels.rows import KernelRows

_BATCH: Final = 768
# Networks in a step, half of them published ones.
_NETWORKS: Final = 20
_LOOKS: Final = 20
_PEAK_RATE: Final = 3e-3
_DECAY: Final = 1e-4
# Of the loss of whole networks beside that of their kernels.
_NETWORK_WEIGHT: Final = 0.3
_PUBLISHED: Final = "zoo"


class Draws:
    """Indices in random order, again and again."""

    def __init__(self, index: NDArray[np.int64], generator: np.random.Generator) -> None:
        self._index, self._generator = index, generator
        self._order, self._at = generator.permutation(index), 0

    def take(self, count: int) -> NDArray[np.int64]:
        """The next ones; all are drawn before one is drawn again."""
        if self._at + count > len(self._order):
            self._order, self._at = self._generator.permutation(self._index), 0
        found = self._order[self._at : self._at + count]
        self._at += count
        return found


def predictions(network: KernelNetwork, batches: Batches, index: NDArray[np.int64]) -> NDArray[np.float64]:
    """What the network says of some rows."""
    network.eval()
    with torch.no_grad():
        found = [network(*batches.inputs(piece).tuple())[0].reshape(-1) for piece in np.array_split(index, -(-len(index) // 8192))]
    return np.asarray(torch.cat(found).numpy(), dtype=np.float64)


@dataclass(frozen=True)
class Parts:
    """Rows and networks that are learned from, and those that training stops by."""

    learn: NDArray[np.int64]
    stop: NDArray[np.int64]
    published: NDArray[np.int64]
    generated: NDArray[np.int64]
    stop_networks: NDArray[np.int64]


def parts_of(rows: KernelRows, sums: NetworkRows | None, part: int, parts: int) -> Parts:
    """Every `parts`-th family stops, beginning at `part`; the others teach."""
    splits = rows.splits if sums is None else np.concatenate([rows.splits, sums.splits])
    families = rows.families if sums is None else np.concatenate([rows.families, sums.families])
    held = held_names(splits, families, part, parts)
    own = np.isin(rows.families, held)
    nothing = np.zeros(0, dtype=np.int64)
    if sums is None:
        return Parts(np.flatnonzero(~own), np.flatnonzero(own), nothing, nothing, nothing)
    stopped, published = np.isin(sums.families, held), sums.splits == _PUBLISHED
    return Parts(
        np.flatnonzero(~own), np.flatnonzero(own), np.flatnonzero(published & ~stopped), np.flatnonzero(~published & ~stopped), np.flatnonzero(stopped)
    )  # fmt: skip


class Training:
    """One network on its way."""

    def __init__(self, rows: KernelRows, sums: NetworkRows | None, words: Vocabulary, parts: Parts, seed: int, *, raw: bool, steps: int) -> None:
        torch.manual_seed(seed)
        generator = np.random.default_rng(seed)
        self.rows, self.parts, self.steps = rows, parts, steps
        self.targets = Targets(rows, words)
        target = (self.targets.milliseconds if raw else self.targets.log_ratio)[torch.from_numpy(parts.learn)]
        shape = Shape(len(words.operators) + 1, len(words.types) + 1, max(1, len(words.runtime_types)), raw=raw)
        center, spread = float(target.mean()), float(torch.clamp(target.std(), min=1e-6))
        self.network = KernelNetwork(shape, rows.joined.nodes, rows.features[parts.learn], center, spread)
        self.dispatch = Dispatch()
        self.batches = Batches(rows.joined, rows.types, rows.features, rows.subgraph, words)
        self.sums = None if sums is None else Sums(sums, words, self.batches)
        self.kernels = Draws(parts.learn, generator)
        self.networks = [Draws(index, generator) for index in (parts.published, parts.generated) if len(index)]
        own = {"params": list(self.network.parameters()), "weight_decay": _DECAY}
        costs = {"params": list(self.dispatch.parameters()), "weight_decay": 0.0}
        self.optimizer = torch.optim.AdamW([own, costs], lr=_PEAK_RATE)
        # Two numbers for each count of threads have a long way to go, and nothing to spoil.
        rates = [_PEAK_RATE, 10 * _PEAK_RATE]
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, rates, total_steps=steps, pct_start=0.15)

    def step(self) -> None:
        """One batch of kernels and one of networks."""
        self.network.train()
        self.optimizer.zero_grad()
        loss = kernel_loss(self.network, self.batches, self.targets, self.kernels.take(_BATCH))
        if self.sums is not None and self.networks:
            which = np.concatenate([draws.take(_NETWORKS // len(self.networks)) for draws in self.networks])
            errors = self.sums.errors(self.network, self.dispatch, which)
            loss = loss + _NETWORK_WEIGHT * network_loss(errors)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()

    def held_errors(self) -> NDArray[np.float64]:
        """Absolute log error of every held-out kernel."""
        return np.abs(predictions(self.network, self.batches, self.parts.stop) - self.rows.log_ratio[self.parts.stop])

    def held_cost(self) -> float:
        """Weighted mean log error of held-out kernels, plus that of held-out networks."""
        cost = float(np.average(self.held_errors(), weights=self.rows.weight[self.parts.stop]))
        if self.sums is not None and len(self.parts.stop_networks):
            with torch.no_grad():
                cost += float(self.sums.errors(self.network, self.dispatch, self.parts.stop_networks).abs().mean())
        return cost

    def run(self) -> tuple[float, ...]:
        """Trains; keeps the weights of the least cost on held-out families. Returns the curve."""
        best, kept, curve = np.inf, None, []
        for step in range(self.steps):
            self.step()
            if (step + 1) % max(1, self.steps // _LOOKS) == 0:
                curve.append(self.held_cost())
                if curve[-1] < best:
                    best, kept = curve[-1], {name: value.clone() for name, value in self.network.state_dict().items()}
        if kept is not None:
            self.network.load_state_dict(kept)
        return tuple(curve)
