"""Product labels of GPUs, as GPU-feature-discovery writes them: the GPU, the MIG profile, and whether it is shared under its own name.

`<GPU>[-MIG-<profile>][-SHARED]`: the GPU's name as NVML tells it, with blanks as dashes. A label ends at 63 characters, and the GPU's name is what gets cut
(NVIDIA k8s-device-plugin, internal/lm/resource.go and its tests): a long name is whole on the label of the node and cut on that of its instances.
"""

import re
from dataclasses import dataclass
from typing import Final

SHARED_SUFFIX: Final = "-SHARED"
_LABEL_CHARACTERS: Final = 63
_INSTANCE: Final = re.compile(r"(?P<gpu>.*)-MIG-(?P<profile>[0-9]{1,2}g\.[0-9]{1,4}gb)(?P<suffix>[a-z.+-]*)")
# Separators that are trimmed from a name's end where it was cut.
_SEPARATORS: Final = "-._"


@dataclass(frozen=True, slots=True)
class Product:
    """What a product label names."""

    gpu: str
    profile: str | None
    """MIG profile in a resource's spelling, `1g.10gb.me`; None for a GPU that is not cut."""
    is_shared: bool
    """True where the label says so; a renamed resource (`nvidia.com/gpu.shared`) is shared without it."""


def read(label: str, node_product: str = "") -> Product:
    """Reads a product label.

    Args:
        label: of a node, or of one of its MIG profiles.
        node_product: the node's own product, whose name is whole where `label` had to be cut.
    """
    text = label.removesuffix(SHARED_SUFFIX)
    is_shared = text != label
    found = _INSTANCE.fullmatch(text)
    if found is None:
        return Product(text, None, is_shared)
    gpu, suffix = found["gpu"], found["suffix"]
    # Labels cannot hold `+`, so `1g.10gb+me` reads `1g.10gbme` there and `1g.10gb.me` in a resource's name.
    if suffix and suffix[0] not in ".-":
        suffix = "." + suffix.removeprefix("+")
    whole = node_product.removesuffix(SHARED_SUFFIX)
    # A trimmed separator may leave a cut label a little shorter than the longest.
    if len(label) >= _LABEL_CHARACTERS - 2 and whole.startswith(gpu.rstrip(_SEPARATORS)):
        gpu = whole
    return Product(gpu, found["profile"] + suffix, is_shared)
