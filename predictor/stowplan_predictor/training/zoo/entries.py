"""The networks that data sets are measured on: named, by family, with random weights; what is learned from them is structure, never weights.

Breadth first: many families at few sizes, because an unseen family is what a predictor meets. Sizes are bounded so that one inference takes at most about
250 ms on one core. A family groups networks that would give each other away: they are held out together. The nine `light` models that ship inside the onnx
package are for judgement only; zoo models of the same families carry the same family name, so that they can be left out of training too.
"""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from stowplan_predictor.training.zoo.catalogues import LIGHT, TIMM, TORCHVISION, TRANSFORMERS, Catalogue

FOLDS: Final = 5
_RANDOM_NETWORKS: Final = 72


@dataclass(frozen=True, slots=True)
class Entry:
    """One network to export."""

    name: str
    family: str
    library: str
    """`torchvision`, `timm`, `transformers`, `onnx` (its light models) or `random` (our generator)."""
    model: str
    """The library's name for it; for `random` the seed."""
    batch: int
    size: int
    """Side of the square image, or tokens (frames) of a sequence; 0 where the model itself says."""

    @property
    def split(self) -> str:
        """`zoo`, `random` or `light`."""
        return {"onnx": "light", "random": "random"}.get(self.library, "zoo")


def _library(library: str, table: Catalogue) -> Iterator[Entry]:
    for family, models in table.items():
        for model, variants in models.items():
            for variant in variants.split():
                batch, size = map(int, variant.split("x"))
                yield Entry(f"{model}-b{batch}-s{size}", family, library, model, batch, size)


def entries() -> tuple[Entry, ...]:
    """Every network, in an order of falling importance within each source: light first, since they judge."""
    light = [Entry(name, family, "onnx", name, 1, 0) for name, family in LIGHT.items()]
    zoo = [*_library("torchvision", TORCHVISION), *_library("timm", TIMM), *_library("transformers", TRANSFORMERS)]
    # Twelve random networks a family: a fold then holds out random networks of its own.
    random = [Entry(f"random-{seed:03d}", f"random-{seed % 6}", "random", str(seed), 1, 0) for seed in range(_RANDOM_NETWORKS)]
    return (*light, *zoo, *random)


def light_families() -> frozenset[str]:
    """Families that the light models belong to: zoo networks of these must not train a model that is judged on the light models."""
    return frozenset(LIGHT.values())


def dealt(names: Iterable[str]) -> dict[str, int]:
    """A fold for each name, by a checksum of it, dealt so that folds differ by one name at most."""
    ordered = sorted(names, key=lambda name: (zlib.crc32(name.encode()), name))
    return {name: position % FOLDS for position, name in enumerate(ordered)}


def folds() -> dict[str, int]:
    """Fold of each family: of published networks and, apart, of our first random ones."""
    published = {entry.family for entry in entries() if entry.split != "random"}
    return dealt(published) | dealt({entry.family for entry in entries()} - published)
