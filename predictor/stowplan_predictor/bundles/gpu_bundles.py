"""Bundles of GPUs: a directory whose `gpus.json` says how kernels run there; what it means, `stowplan_predictor.gpus` knows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stowplan_predictor.bundles.manifests import Manifest
from stowplan_predictor.fusion.serving import FusionSource

if TYPE_CHECKING:
    from stowplan_predictor.gpus.judges import GpuJudge

# A directory with this file is a bundle of GPUs.
GPUS: Final = "gpus.json"


@dataclass(frozen=True, slots=True)
class GpuBundle:
    """Trained models of one runtime on GPUs, checked and ready to answer."""

    manifest: Manifest
    manifest_json: str
    """As it lies on disk."""
    fusion: FusionSource
    """How graphs are cut into kernels."""
    judge: "GpuJudge"
    """Who answers."""

    @property
    def label(self) -> str:
        """`<name>@<version>`, as every answer carries it."""
        return self.manifest.label


def gpu_bundle(manifest: Manifest, raw: bytes, files: Mapping[str, bytes], fusion: FusionSource) -> GpuBundle:
    """Opens one.

    Raises:
        ValueError: not usable by this version.
    """
    # A process that serves CPUs alone need not know how GPUs are judged.
    from stowplan_predictor.gpus.judges import open_gpus  # noqa: PLC0415

    return GpuBundle(manifest, raw.decode(), fusion, open_gpus(files, manifest.label))
