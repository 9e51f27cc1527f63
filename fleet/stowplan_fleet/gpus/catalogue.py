"""The catalogue of GPUs: published structure of each model, with its sources, read once from `catalogue.json`.

What nobody published (streaming multiprocessors of a B200's MIG profiles, for instance) is null there and None here: a node's labels may tell it, a formula
must not. Names differ between drivers, clouds and tools, so a product is found by its aliases too.
"""

import functools
import importlib.resources
from typing import Final

import msgspec

# Prefixes that drivers and tools put before a product's name, or leave out.
_PREFIXES: Final = ("nvidia-", "tesla-", "geforce-", "quadro-")


class MigProfile(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A kind of MIG instance (NVIDIA MIG user guide, "Supported MIG Profiles")."""

    profile: str
    """`1g.10gb`; `+me` is written `.me`, as in resource names."""
    compute_slices: int
    memory_slices: int
    max_instances: int
    """On one GPU that holds nothing else."""
    starts: list[int]
    """Memory slices at which an instance may begin."""
    multiprocessors: int | None
    """None where nobody published it: it is not slices x total / 7."""
    memory_mib: int | None
    """As NVML reports it; None where nobody published it."""


class MigLayout(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """How a GPU can be cut."""

    memory_slices: int
    multiprocessors_source: str
    profiles: list[MigProfile]


class Gpu(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A GPU model."""

    product: str
    """As GPU-feature-discovery labels it with current drivers."""
    aliases: list[str]
    compute_capability: str
    multiprocessors: int
    cuda_cores: int
    memory_bytes: int
    """As sold; what NVML reports is some percent less."""
    memory_bus_bits: int
    memory_clock_mhz: float
    bandwidth_bytes_per_second: int
    """Peak, of the device's memory."""
    boost_clock_mhz: float
    l2_bytes: int
    power_watts: float
    fp32_flops_per_second: int
    """Peak without tensor cores, at the boost clock."""
    fp16_tensor_flops_per_second: int | None
    """Peak, dense; None where the model has no tensor cores or nobody published it."""
    sources: list[str]
    mig: MigLayout | None = None

    @property
    def generation(self) -> tuple[int, int]:
        """Compute capability as numbers."""
        major, minor = self.compute_capability.split(".")
        return int(major), int(minor)

    def profile(self, name: str) -> MigProfile | None:
        """The MIG profile of that name, in a resource's spelling; None where the model has none such."""
        return next((item for item in self.mig.profiles if item.profile == name), None) if self.mig else None


class _Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    gpus: list[Gpu]


def _normalised(name: str) -> str:
    plain = name.lower().replace("_", "-")
    for prefix in _PREFIXES:
        plain = plain.removeprefix(prefix)
    return plain


@functools.cache
def gpus() -> tuple[Gpu, ...]:
    """Every model, in the file's order."""
    data = importlib.resources.files(__package__ or "").joinpath("catalogue.json").read_bytes()
    return tuple(msgspec.json.decode(data, type=_Catalogue).gpus)


@functools.cache
def _by_name() -> dict[str, Gpu]:
    found: dict[str, Gpu] = {}
    for gpu in gpus():
        for name in (gpu.product, *gpu.aliases):
            found[_normalised(name)] = gpu
    return found


def find(product: str) -> Gpu | None:
    """The model that goes by that name, in any driver's or cloud's spelling; None where the catalogue has none."""
    return _by_name().get(_normalised(product))
