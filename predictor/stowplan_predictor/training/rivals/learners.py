"""How a rival that is a neural network learns: one recipe for all of them, so that they differ by what they are and not by how they were trained.

Target: the logarithm of the latency, less what a log-linear regression on the graph's totals and the slice says, with the smooth L1 loss. The papers trained on
seconds; there the largest networks would be all that counts, every rival is judged by relative errors, and each is better for it. Adam with one cycle of the
learning rate, gradients clipped. A part of the training set, families whole, is held back to keep the best epoch and to end early. Steps are counted and never
timed: the same seed gives the same weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stowplan_predictor.training.data.folds import inner_split
from stowplan_predictor.training.harness.cases import Case, log_truths
from stowplan_predictor.training.rivals import batches
from stowplan_predictor.training.rivals.batches import Prepared, Scales

# Of each kind of network; families whole.
VALIDATION_SHARE: Final = 0.12
# Predictions leave the range of the training latencies by at most this factor: what lies beyond is the network's invention.
_BEYOND: Final = 4.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long and how fast to learn."""

    steps: int
    """Batches to learn from, rounded up to whole epochs; `epochs` at most."""
    epochs: int
    patience: float
    """Share of all epochs without a better validation error after which it ends."""
    learning_rate: float
    """The highest of the cycle."""
    graphs_a_batch: int
    largest_batch: int
    """Sum of squared operator counts in a batch, at most: what attention costs."""
    weight_decay: float = 1e-4


@dataclass(frozen=True, slots=True)
class Learned:
    """A trained network and how good it was on what it did not learn from."""

    module: nn.Module
    scales: Scales
    validation_error: float
    """Mean absolute log error, kinds weighted as in training."""
    curve: tuple[float, ...]
    """`validation_error` after each epoch."""


def _log_errors(module: nn.Module, prepared: Prepared, by: Scales, recipe: Recipe) -> float:
    module.eval()
    total, weight = 0.0, 0.0
    with torch.inference_mode():
        for item in batches.epochs(prepared, by, recipe.graphs_a_batch, recipe.largest_batch, None):
            off = (module(item) - item.target).abs() * item.weights
            total, weight = total + float(off.sum()), weight + float(item.weights.sum())
    return total / weight * by.spread


def learn(make: Callable[[], nn.Module], train: Sequence[Case], seed: int, recipe: Recipe) -> Learned:
    """Trains one network.

    Args:
        make: a fresh network; its `forward` maps a `Batch` to (cases,), what is to be learned in spreads.
        train: cases of the training families.
        seed: of weights, order and validation families.
        recipe: how long and how fast.
    """
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    samples = list({case.sample.name: case.sample for case in train}.values())
    kept = {sample.name for sample in inner_split(samples, VALIDATION_SHARE, seed)[1]}
    fitted = batches.prepare([case for case in train if case.sample.name not in kept], learn=True)
    # A training set of one family has nothing to hold back: then it is its own judge.
    held = batches.prepare([case for case in train if case.sample.name in kept], learn=True) if kept else fitted
    by = batches.scales(fitted)
    module = make()
    optimizer = torch.optim.AdamW(module.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    an_epoch = sum(1 for _ in batches.epochs(fitted, by, recipe.graphs_a_batch, recipe.largest_batch, None))
    epochs = min(-(-recipe.steps // an_epoch), recipe.epochs)
    # Sizes are jittered, so that an epoch may have a few batches more: the cycle is not to end before the last one.
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=epochs * (an_epoch + an_epoch // 5 + 1), pct_start=0.2)
    best: tuple[float, dict[str, Any]] = (float("inf"), {})
    curve: list[float] = []
    for _ in range(epochs):
        module.train()
        for item in batches.epochs(fitted, by, recipe.graphs_a_batch, recipe.largest_batch, generator):
            optimizer.zero_grad()
            loss = (nn.functional.smooth_l1_loss(module(item), item.target, beta=0.1, reduction="none") * item.weights).mean()
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        curve.append(_log_errors(module, held, by, recipe))
        if curve[-1] < best[0]:
            best = (curve[-1], {name: value.clone() for name, value in module.state_dict().items()})
        elif len(curve) - 1 - int(np.argmin(curve)) >= recipe.patience * epochs:
            break
    module.load_state_dict(best[1])
    return Learned(module, by, best[0], tuple(curve))


def predict(learned: Learned, test: Sequence[Case], train: Sequence[Case], recipe: Recipe) -> NDArray[np.float64]:
    """Milliseconds of every test case, in order."""
    prepared = batches.prepare(test, learn=False)
    above = np.full(len(test), np.nan)
    learned.module.eval()
    with torch.inference_mode():
        for item in batches.epochs(prepared, learned.scales, recipe.graphs_a_batch, recipe.largest_batch, None):
            above[item.positions] = learned.module(item).numpy()
    logs, margin = log_truths(train), np.log(_BEYOND)
    found = learned.scales.on_line(prepared.context) + above * learned.scales.spread
    return np.asarray(np.exp(np.clip(found, logs.min() - margin, logs.max() + margin)), dtype=np.float64)
