"""Bundles of GPUs: a directory whose `gpus.json` says how kernels run there; what it means, `stowplan_predictor.gpus` knows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, cast

from stowplan_predictor.bundles.manifests import Manifest
from stowplan_predictor.fusion.serving import FusionSource
from stowplan_predictor.kernels.workloads import Workloads

if TYPE_CHECKING:
    from stowplan_predictor.gpus.judges import GpuJudge

# A directory with this file is a bundle of GPUs.
GPUS: Final = "gpus.json"
_KERNELS_AT_A_TIME: Final = 1024


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


class _OpenedWhenAsked:
    """A judge whose models are opened by the first question: ONNX Runtime holds trees at many times their size, and most clusters have no GPU. Thread-safe."""

    def __init__(self, files: Mapping[str, bytes], label: str) -> None:
        self._files, self._label = files, label
        self._lock = Lock()
        self._opened: GpuJudge | None = None

    def _judge(self) -> "GpuJudge":
        with self._lock:
            if self._opened is None:
                self._opened = _open(self._files, self._label)
                self._files = {}
            return self._opened

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a judge has
        return getattr(self._judge(), name)

    def runs(self, parts: Sequence[tuple[Workloads, Any, Any]]) -> list[Any]:
        """As `GpuJudge.runs`, some thousand kernels at a time: a kernel's features take kilobytes while they are computed."""
        found: list[Any] = []
        some: list[tuple[Workloads, Any, Any]] = []
        for part in parts:
            some.append(part)
            if sum(len(work.types) for work, _, _ in some) >= _KERNELS_AT_A_TIME:
                found += self._judge().runs(some)
                some = []
        return found + (self._judge().runs(some) if some else [])


def _open(files: Mapping[str, bytes], label: str) -> "GpuJudge":
    # A process that serves CPUs alone need not know how GPUs are judged.
    from stowplan_predictor.gpus.judges import open_gpus  # noqa: PLC0415

    return open_gpus(files, label)


def gpu_bundle(manifest: Manifest, raw: bytes, files: Mapping[str, bytes], fusion: FusionSource) -> GpuBundle:
    """Opens one, to see that it can be used, and lets go of it until somebody asks.

    Raises:
        ValueError: not usable by this version.
    """
    _open(files, manifest.label)
    return GpuBundle(manifest, raw.decode(), fusion, cast("GpuJudge", _OpenedWhenAsked(files, manifest.label)))
