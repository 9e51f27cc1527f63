"""Inventories of GPU nodes that really stood in a cluster: strategies single and mixed, time slicing, MPS, several GPUs."""

import pytest
from stowplan_fleet import gpu_products, nodes
from stowplan_fleet.gpus.shares import share_of
from stowplan_fleet.nodes import NodeInventory
from support import gpu_nodes
from support.gpu_nodes import GpuNode

MIB = 1 << 20


def inventory(node: GpuNode) -> NodeInventory:
    return nodes.read_inventory("n", node.full_labels, {"cpu": "64", "memory": "256Gi", **node.resources})


def offers(node: GpuNode) -> dict[str, tuple[str, int, int]]:
    return {str(offer.slice_class): (offer.resource, offer.count, offer.replicas) for offer in inventory(node).offers}


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (gpu_nodes.MIG_SINGLE, {"A100-PCIE-40GB/mig-1g.5gb": ("nvidia.com/gpu", 7, 1)}),
        (
            gpu_nodes.MIG_MIXED,
            {
                "NVIDIA-A100-80GB-PCIe/mig-1g.10gb": ("nvidia.com/mig-1g.10gb", 1, 1),
                "NVIDIA-A100-80GB-PCIe/mig-2g.20gb": ("nvidia.com/mig-2g.20gb", 1, 1),
                "NVIDIA-A100-80GB-PCIe/mig-3g.40gb": ("nvidia.com/mig-3g.40gb", 1, 1),
            },
        ),
        (
            gpu_nodes.MIG_TWO_GPUS,
            {"NVIDIA-H100-NVL/mig-1g.12gb": ("nvidia.com/mig-1g.12gb", 7, 1), "NVIDIA-H100-NVL/mig-1g.24gb": ("nvidia.com/mig-1g.24gb", 1, 1)},
        ),
        (
            gpu_nodes.MIG_H100,
            {"NVIDIA-H100-80GB-HBM3/mig-1g.10gb": ("nvidia.com/mig-1g.10gb", 2, 1), "NVIDIA-H100-80GB-HBM3/mig-2g.20gb": ("nvidia.com/mig-2g.20gb", 1, 1)},
        ),
        (
            gpu_nodes.MIG_BESIDE_WHOLE,
            {
                "NVIDIA-H20/full": ("nvidia.com/gpu", 7, 1),
                "NVIDIA-H20/mig-1g.12gb": ("nvidia.com/mig-1g.12gb", 2, 1),
                "NVIDIA-H20/mig-1g.24gb": ("nvidia.com/mig-1g.24gb", 1, 1),
                "NVIDIA-H20/mig-3g.48gb": ("nvidia.com/mig-3g.48gb", 1, 1),
            },
        ),
        (gpu_nodes.TIME_SLICED, {"Tesla-T4/time-4": ("nvidia.com/gpu.shared", 4, 4)}),
        (gpu_nodes.TIME_SLICED_UNDER_ITS_NAME, {"NVIDIA-GeForce-GTX-1660-Ti/time-6": ("nvidia.com/gpu", 6, 6)}),
        (
            gpu_nodes.MPS_BESIDE_WHOLE,
            {"NVIDIA-GeForce-RTX-4090/full": ("nvidia.com/gpu", 7, 1), "NVIDIA-GeForce-RTX-4090/mps-50": ("nvidia.com/gpu.shared", 2, 2)},
        ),
        (gpu_nodes.mps("NVIDIA-L4", 8, 3, 23034), {"NVIDIA-L4/mps-33": ("nvidia.com/gpu.shared", 24, 3)}),
    ],
    ids=lambda value: value.source if isinstance(value, GpuNode) else "",
)
def test_real_nodes_offer_what_their_device_plugin_advertises(node: GpuNode, expected: dict[str, tuple[str, int, int]]) -> None:
    """Class, resource, count and ways of sharing, and nothing that could not be read."""
    assert offers(node) == expected
    assert inventory(node).problems == ()


def test_multiprocessors_and_memory_are_those_of_the_labels_where_tables_differ() -> None:
    """An H100 NVL's 1g.24gb has 26 multiprocessors on an empty GPU and had 16 in this layout: the label wins."""
    (gpu,) = inventory(gpu_nodes.MIG_TWO_GPUS).gpus
    share = share_of(gpu, next(offer.slice_class.slice for offer in inventory(gpu_nodes.MIG_TWO_GPUS).offers if offer.slice_class.slice.profile == "1g.24gb"))

    assert (share.multiprocessors, share.memory_bytes) == (16, 22144 * MIB)


def test_the_labels_of_a_cut_gpu_describe_the_instance_and_the_table_the_rest() -> None:
    """An A100 with strategy single: 14 multiprocessors by label, an eighth of the bandwidth by the table, found under an older driver's name."""
    found = inventory(gpu_nodes.MIG_SINGLE)
    (gpu,), (offer,) = found.gpus, found.offers
    share = share_of(gpu, offer.slice_class.slice)

    assert (share.product, share.multiprocessors, share.memory_bytes) == ("NVIDIA-A100-PCIE-40GB", 14, 4864 * MIB)
    assert share.bandwidth_bytes_per_second == pytest.approx(1555e9 / 8)


@pytest.mark.parametrize(
    ("change", "allocatable", "reason"),
    [
        ({"gpu.count": "1"}, {"gpu": "7", "gpu.shared": "2"}, "account for"),
        ({"gpu.replicas": "1"}, {"gpu": "7", "gpu.shared": "2"}, "account for"),
        ({}, {"gpu": "8", "gpu.shared": "2"}, "account for"),
        ({}, {"gpu.shared": "17"}, "account for 16 only"),
    ],
)
def test_numbers_that_do_not_come_out_are_a_problem(change: dict[str, str], allocatable: dict[str, str], reason: str) -> None:
    """Shared and whole GPUs of one node are believed only where they add up to what the labels count."""
    labels = {**gpu_nodes.MPS_BESIDE_WHOLE.labels, **change}
    found = inventory(GpuNode("changed", labels, allocatable))

    assert found.offers == ()
    assert all(reason in problem for problem in found.problems)
    assert found.problems


def test_gpus_of_two_models_on_one_node_are_a_problem() -> None:
    """GPU-feature-discovery labels one model only, and counts it; the other model's devices are advertised under the same resource."""
    node = GpuNode("two models", {"gpu.product": "NVIDIA-L4", "gpu.count": "2", "gpu.memory": "23034", "gpu.replicas": "1"}, {"gpu": "3"})
    found = inventory(node)

    assert found.offers == ()
    assert "GPUs of two models" in found.problems[0]


def test_more_instances_than_the_labels_count_are_a_problem() -> None:
    """Labels of a profile that the GPU was cut into before do not describe the instances there now."""
    node = GpuNode("changed", gpu_nodes.MIG_MIXED.labels, {"mig-1g.10gb": "7"})

    assert inventory(node).offers == ()
    assert "account for 1 only" in inventory(node).problems[0]


@pytest.mark.parametrize(
    ("label", "node_product", "gpu", "profile"),
    [
        ("NVIDIA-RTX-PRO-6000-Blackwell-Max-Q-Workstation-Edi-MIG-1g.24gb", "NVIDIA-RTX-PRO-6000-Blackwell-Max-Q-Workstation-Edition", None, "1g.24gb"),
        ("NVIDIA-RTX-PRO-6000-Blackwell-Max-Q-Workstation-MIG-1g.24gb.me", "NVIDIA-RTX-PRO-6000-Blackwell-Max-Q-Workstation-Edition", None, "1g.24gb.me"),
        ("NVIDIA-A100-80GB-PCIe-MIG-1g.10gb", "NVIDIA-A100-80GB-PCIe", None, "1g.10gb"),
        ("NVIDIA-A100-MIG-1g.10gb", "NVIDIA-A100-80GB-PCIe", "NVIDIA-A100", "1g.10gb"),
    ],
)
def test_names_that_a_label_had_no_room_for_are_whole_again(label: str, node_product: str, gpu: str | None, profile: str) -> None:
    """The device plugin's own tests: a name is cut for the profile's sake, and only then is the node's product taken for it."""
    read = gpu_products.read(label, node_product)

    assert (read.gpu, read.profile, read.is_shared) == (gpu or node_product, profile, False)
