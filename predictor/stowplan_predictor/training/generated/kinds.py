"""Random networks by kind and seed: `network` with weights, `structure` without them, `configuration` as the unit in which they are held out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from stowplan_predictor.training.generated import cnn as random_cnn
from stowplan_predictor.training.generated import fnn as random_fnn
from stowplan_predictor.training.generated.builders import Blueprint


@dataclass(frozen=True, slots=True)
class _Kind:
    draw: Callable[[int], Blueprint]
    configurations: tuple[str, ...]


_KINDS: Final[Mapping[str, _Kind]] = {
    "fnn": _Kind(random_fnn.draw, random_fnn.configurations()),
    "cnn": _Kind(random_cnn.draw, random_cnn.configurations()),
}
KINDS: Final = tuple(_KINDS)


def name(kind: str, seed: int) -> str:
    """What the network is called in data sets."""
    return f"{kind}-{seed:05d}"


def configuration(kind: str, seed: int) -> str:
    """Which generator configuration a seed belongs to: networks of one are alike, and are held out together."""
    known = _KINDS[kind].configurations
    return known[seed % len(known)]


def configurations(kind: str) -> tuple[str, ...]:
    """All configurations of a kind."""
    return _KINDS[kind].configurations


def blueprint(kind: str, seed: int) -> Blueprint:
    """The network as drawn, before it is written down."""
    return _KINDS[kind].draw(seed)


def network(kind: str, seed: int) -> bytes:
    """The ONNX file; the same for the same seed."""
    return blueprint(kind, seed).network()


def structure(kind: str, seed: int) -> bytes:
    """The ONNX file without weights: a few milliseconds, so that no structure of thousands need be stored."""
    return blueprint(kind, seed).structure()
