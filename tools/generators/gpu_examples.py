"""Makes examples/gpus/cluster.yaml: a snapshot of a cluster with a GPU cut by MIG, GPUs shared under MPS and a node of CPUs.

`python tools/generators/gpu_examples.py ROOT` writes below ROOT. The nodes are made up; their labels are those that GPU-feature-discovery (NVIDIA
k8s-device-plugin v0.20.0) gives nodes of that kind.
"""

import json
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from stowplan_fleet import keys

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "examples"
# The made-up CPU of examples/cluster.yaml.
CPU: Final = "made-up-quick"
A100: Final = "NVIDIA-A100-SXM4-80GB"
# Profile: instances, MiB, multiprocessors. Two of 1g, one of 2g and of 3g fill an A100.
CUT: Final = {"1g.10gb": (2, 9728, 14), "2g.20gb": (1, 19968, 28), "3g.40gb": (1, 40192, 42)}


def node(name: str, cpu: str, labels: Mapping[str, str], resources: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A ready node; its uid follows from its name, so that the file is the same every time."""
    allocatable = {"cpu": cpu, "memory": "128Gi", "pods": "110", **(resources or {})}
    uid = str(uuid.uuid5(uuid.NAMESPACE_URL, f"stowplan.dev/examples/gpus/{name}"))
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "uid": uid, "labels": {"kubernetes.io/hostname": name, **labels}},
        "status": {"allocatable": allocatable, "capacity": allocatable, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def gpu_node(name: str, cpu: str, labels: Mapping[str, str], resources: Mapping[str, str]) -> dict[str, Any]:
    """A ready node with GPU-feature-discovery and a device plugin."""
    return node(name, cpu, {f"nvidia.com/{key}": value for key, value in labels.items()}, {f"nvidia.com/{key}": value for key, value in resources.items()})


def cut_node() -> dict[str, Any]:
    """One A100, MIG strategy mixed."""
    labels = {
        "gpu.count": "1", "gpu.family": "ampere", "gpu.memory": "81920", "gpu.product": A100, "gpu.replicas": "0", "gpu.sharing-strategy": "none",
        "mig.capable": "true", "mig.strategy": "mixed", "mps.capable": "false",
    }  # fmt: skip
    for profile, (count, memory_mib, multiprocessors) in CUT.items():
        own = {
            "count": count, "memory": memory_mib, "multiprocessors": multiprocessors, "product": f"{A100}-MIG-{profile}", "replicas": 1,
            "sharing-strategy": "none", "slices.ci": profile[0], "slices.gi": profile[0],
        }  # fmt: skip
        labels |= {f"mig-{profile}.{key}": str(value) for key, value in own.items()}
    return gpu_node("cut-1", "32", labels, {"gpu": "0", **{f"mig-{profile}": str(count) for profile, (count, _, _) in CUT.items()}})


def shared_node() -> dict[str, Any]:
    """Two L4, each shared by four under MPS."""
    labels = {
        "gpu.count": "2", "gpu.family": "ada-lovelace", "gpu.memory": "23034", "gpu.product": "NVIDIA-L4", "gpu.replicas": "4",
        "gpu.sharing-strategy": "mps", "mig.capable": "false", "mig.strategy": "mixed", "mps.capable": "true",
    }  # fmt: skip
    return gpu_node("shared-1", "16", labels, {"gpu": "0", "gpu.shared": "8"})


def snapshot() -> dict[str, Any]:
    """What kubectl would print of the cluster."""
    cpus = yaml.safe_load((EXAMPLES / "cluster.yaml").read_text())
    (described,) = (item for item in cpus["items"] if keys.DESCRIPTORS_LABEL in item["metadata"].get("labels", {}))
    own = f"{CPU}.json"
    items = [
        cut_node(),
        shared_node(),
        node("quick-1", "4", {keys.DEVICE_LABEL: CPU}),
        {**described, "data": {own: described["data"][own]}},
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items, "metadata": {"resourceVersion": ""}}


def block_strings(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Strings of several lines as blocks, as kubectl prints them."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


def main(root: Path) -> None:
    """Writes the file."""
    yaml.SafeDumper.add_representer(str, block_strings)
    folder = root / "examples" / "gpus"
    folder.mkdir(parents=True, exist_ok=True)
    note = "# Made by tools/generators/gpu_examples.py: `make generate` makes it anew.\n"
    (folder / "cluster.yaml").write_text(note + yaml.safe_dump(json.loads(json.dumps(snapshot())), width=160, sort_keys=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
