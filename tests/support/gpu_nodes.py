"""GPU nodes as real clusters showed them: GPU-feature-discovery's labels and what the device plugin made allocatable, as they were published.

Labels that say nothing of slices (driver and CUDA versions, engines, deploy flags) are left out, except in the first; nothing else is changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class GpuNode:
    """What a real node wore."""

    source: str
    labels: Mapping[str, str]
    """Without the prefix `nvidia.com/`."""
    allocatable: Mapping[str, str]
    """Device-plugin resources, without the prefix."""

    @property
    def full_labels(self) -> dict[str, str]:
        """Labels as the API server has them."""
        return {f"nvidia.com/{key}": value for key, value in self.labels.items()}

    @property
    def resources(self) -> dict[str, str]:
        """Resources as the API server has them."""
        return {f"nvidia.com/{key}": value for key, value in self.allocatable.items()}


def _profile(product: str, profile: str, count: int, memory: int, multiprocessors: int) -> dict[str, str]:
    slices = profile.partition("g")[0]
    own = {
        "product": f"{product}-MIG-{profile}", "count": str(count), "memory": str(memory), "multiprocessors": str(multiprocessors), "replicas": "1",
        "slices.ci": slices, "slices.gi": slices,
    }  # fmt: skip
    return {f"mig-{profile}.{key}": value for key, value in own.items()}


def _profile_now(product: str, profile: str, count: int, memory: int, multiprocessors: int) -> dict[str, str]:
    """As `_profile`, since GPU-feature-discovery tells how each profile is shared."""
    return {**_profile(product, profile, count, memory, multiprocessors), f"mig-{profile}.sharing-strategy": "none"}


_A100_80 = "NVIDIA-A100-80GB-PCIe"
_H100_NVL = "NVIDIA-H100-NVL"
_H100 = "NVIDIA-H100-80GB-HBM3"
_H20 = "NVIDIA-H20"

MIG_SINGLE: Final = GpuNode(
    "NVIDIA cloud-native documentation, MIG support in Kubernetes, strategy single (one A100 PCIe 40 GB, seven 1g.5gb)",
    {
        "cuda.driver.major": "450", "cuda.runtime.major": "11", "gpu.compute.major": "8", "gpu.compute.minor": "0", "gpu.count": "7", "gpu.engines.copy": "1",
        "gpu.engines.decoder": "0", "gpu.family": "ampere", "gpu.machine": "SYS-1019GP-TT-02-NC24B", "gpu.memory": "4864", "gpu.multiprocessors": "14",
        "gpu.product": "A100-PCIE-40GB-MIG-1g.5gb", "gpu.slices.ci": "1", "gpu.slices.gi": "1", "mig.strategy": "single",
    },
    {"gpu": "7"},
)  # fmt: skip

MIG_MIXED: Final = GpuNode(
    "a single-node cluster with one A100 80GB PCIe, driver 515, cut by `nvidia-smi mig -cgi 9,14,19`",
    {
        "gpu.count": "1", "gpu.family": "ampere", "gpu.machine": "Virtual-Machine", "gpu.memory": "81920", "gpu.product": _A100_80, "gpu.replicas": "0",
        "mig.capable": "true", "mig.strategy": "mixed",
        **_profile(_A100_80, "1g.10gb", 1, 9728, 14), **_profile(_A100_80, "2g.20gb", 1, 19968, 28), **_profile(_A100_80, "3g.40gb", 1, 40192, 42),
    },
    {"mig-1g.10gb": "1", "mig-2g.20gb": "1", "mig-3g.40gb": "1"},
)  # fmt: skip

MIG_TWO_GPUS: Final = GpuNode(
    "GPU Operator 25.3 with two H100 NVL, the first cut into 2 x 1g.12gb, the second into 1g.24gb and 5 x 1g.12gb",
    {
        "gpu.product": _H100_NVL, "gpu.replicas": "0", "gpu.sharing-strategy": "none", "mig.capable": "true", "mig.strategy": "mixed",
        "mig.config": "custom-mig", "mig.config.state": "success",
        **_profile_now(_H100_NVL, "1g.12gb", 7, 11008, 16), **_profile_now(_H100_NVL, "1g.24gb", 1, 22144, 16),
    },
    {"gpu": "0", "mig-1g.12gb": "7", "mig-1g.24gb": "1"},
)  # fmt: skip

MIG_H100: Final = GpuNode(
    "GPU Operator with an H100 SXM, cut into 2 x 1g.10gb and 2g.20gb; the labels of 2g.20gb end at its memory in the source",
    {
        "gpu.product": _H100, "mig.strategy": "mixed",
        **_profile_now(_H100, "1g.10gb", 2, 9984, 16),
        "mig-2g.20gb.count": "1", "mig-2g.20gb.memory": "20096",
    },
    {"mig-1g.10gb": "2", "mig-2g.20gb": "1"},
)  # fmt: skip

MIG_BESIDE_WHOLE: Final = GpuNode(
    "GPU Operator with eight H20, one of them cut into 2 x 1g.12gb, 1g.24gb and 3g.48gb",
    {
        "gpu.family": "hopper", "gpu.memory": "97871", "gpu.product": _H20, "gpu.replicas": "1", "gpu.sharing-strategy": "none", "mig.capable": "true",
        "mig.strategy": "mixed", "mps.capable": "false",
        **_profile_now(_H20, "1g.12gb", 2, 12032, 8), **_profile_now(_H20, "1g.24gb", 1, 24192, 8),
        **_profile_now(_H20, "3g.48gb", 1, 48512, 32),
    },
    {"gpu": "7", "mig-1g.12gb": "2", "mig-1g.24gb": "1", "mig-3g.48gb": "1"},
)  # fmt: skip

TIME_SLICED: Final = GpuNode(
    "GPU Operator with one T4, driver 580.105.08, kubelet 1.34.8, device-plugin.config t4-timeslicing-4",
    {
        "device-plugin.config": "t4-timeslicing-4", "gpu.compute.major": "7", "gpu.compute.minor": "5", "gpu.count": "1", "gpu.family": "turing",
        "gpu.machine": "xeon-gold-6338", "gpu.memory": "15360", "gpu.mode": "compute", "gpu.present": "true", "gpu.product": "Tesla-T4", "gpu.replicas": "4",
        "gpu.sharing-strategy": "time-slicing", "mig.capable": "false", "mig.strategy": "single", "mps.capable": "false", "vgpu.present": "false",
    },
    {"gpu": "0", "gpu.shared": "4"},
)  # fmt: skip

TIME_SLICED_UNDER_ITS_NAME: Final = GpuNode(
    "k8s-device-plugin on a desktop with one GTX 1660 Ti in six",
    {
        "gpu.count": "1", "gpu.family": "turing", "gpu.machine": "B560M-AORUS-PRO", "gpu.memory": "6144", "gpu.mode": "graphics",
        "gpu.product": "NVIDIA-GeForce-GTX-1660-Ti-SHARED", "gpu.replicas": "6", "gpu.sharing-strategy": "time-slicing", "mig.capable": "false",
        "mig.strategy": "single", "mps.capable": "false", "vgpu.present": "false",
    },
    {"gpu": "6"},
)  # fmt: skip

MPS_BESIDE_WHOLE: Final = GpuNode(
    "GPU Operator with eight RTX 4090, one of them shared by two under MPS; the family is what the node said",
    {
        "gpu.compute.major": "8", "gpu.compute.minor": "9", "gpu.count": "8", "gpu.family": "ampere", "gpu.machine": "R8428-G13", "gpu.memory": "24564",
        "gpu.present": "true", "gpu.product": "NVIDIA-GeForce-RTX-4090", "gpu.replicas": "2", "gpu.sharing-strategy": "mps", "mig.capable": "false",
        "mig.config": "all-disabled", "mps.capable": "true",
    },
    {"gpu": "7", "gpu.shared": "2"},
)  # fmt: skip


def mps(product: str, gpus: int, replicas: int, memory_mib: int) -> GpuNode:
    """A node whose GPUs are all shared under MPS, `renameByDefault: true`; the keys are those of `MPS_BESIDE_WHOLE`, the GPU another one."""
    labels = {
        "gpu.count": str(gpus), "gpu.memory": str(memory_mib), "gpu.present": "true", "gpu.product": product, "gpu.replicas": str(replicas),
        "gpu.sharing-strategy": "mps", "mig.capable": "false", "mps.capable": "true",
    }  # fmt: skip
    return GpuNode(f"{gpus} {product} in {replicas} each", labels, {"gpu": "0", "gpu.shared": str(gpus * replicas)})


def mig(product: str, memory_mib: int, profiles: Mapping[str, tuple[int, int, int]]) -> GpuNode:
    """A node with strategy mixed; profiles with their count, memory in MiB and multiprocessors. The keys are those of `MIG_TWO_GPUS`."""
    labels = {
        "gpu.count": "1", "gpu.memory": str(memory_mib), "gpu.product": product, "gpu.replicas": "0", "gpu.sharing-strategy": "none", "mig.capable": "true",
        "mig.strategy": "mixed",
    }  # fmt: skip
    for profile, (count, memory, multiprocessors) in profiles.items():
        labels |= _profile_now(product, profile, count, memory, multiprocessors)
    return GpuNode(
        f"{product} cut into {dict(profiles)}", labels, {"gpu": "0", **{f"mig-{profile}": str(count) for profile, (count, _, _) in profiles.items()}}
    )
