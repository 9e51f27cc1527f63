"""Inventories of nodes, from label sets of real nodes (NVIDIA k8s-device-plugin, GPU-feature-discovery documentation and its issues)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_fleet import nodes
from stowplan_fleet.nodes import NodeInventory

MIB = 1 << 20


def gpu_labels(product: str, count: int = 8, memory: int = 40960, **more: str) -> dict[str, str]:
    """Labels of a GPU node as GPU-feature-discovery writes them."""
    named = {key.replace("__", "-").replace("_", "."): value for key, value in more.items()}
    base = {
        "gpu.product": product,
        "gpu.count": str(count),
        "gpu.memory": str(memory),
        "gpu.replicas": "1",
        "gpu.sharing-strategy": "none",
        "gpu.family": "ampere",
    }
    return {f"nvidia.com/{key}": value for key, value in (base | named).items()}


def read(labels: dict[str, str], **resources: str) -> NodeInventory:
    """The inventory of a node with 64 cores."""
    gpus = {f"nvidia.com/{key.replace('_', '.')}": value for key, value in resources.items()}
    return nodes.read_inventory("n", labels, {"cpu": "64", "memory": "256Gi", "pods": "110"} | gpus)


def offers(inventory: NodeInventory) -> list[tuple[str, str, int]]:
    """Class, resource and count of each offer."""
    return [(str(offer.slice_class), offer.resource, offer.count) for offer in inventory.offers]


def test_a_cpu_node_names_its_device() -> None:
    """Cores, memory and the device of the label are read; there are no GPU slices."""
    inventory = nodes.read_inventory("n", {"stowplan.dev/device": "epyc-9b14"}, {"cpu": "7910m", "memory": "16Gi"})

    assert (inventory.cpu_millicores, inventory.memory_bytes, inventory.cpu_device) == (7910, 16 << 30, "epyc-9b14")
    assert (inventory.offers, inventory.gpus, inventory.problems) == ((), (), ())


def test_whole_gpus() -> None:
    """Unshared GPUs are slices of kind full."""
    inventory = read(gpu_labels("NVIDIA-A100-SXM4-40GB"), gpu="8")

    assert offers(inventory) == [("NVIDIA-A100-SXM4-40GB/full", "nvidia.com/gpu", 8)]
    assert [(gpu.name, gpu.memory_bytes) for gpu in inventory.gpus] == [("NVIDIA-A100-SXM4-40GB", 40960 * MIB)]
    assert inventory.problems == ()


def test_mig_single_names_the_parent_and_describes_the_instance() -> None:
    """With strategy single the labels describe an instance: its multiprocessors are the slice's, and the GPU's memory stays unknown."""
    labels = gpu_labels("A100-SXM4-40GB-MIG-1g.5gb", 56, 4864, gpu_multiprocessors="14", mig_strategy="single")
    inventory = read(labels, gpu="56")

    assert offers(inventory) == [("A100-SXM4-40GB/mig-1g.5gb", "nvidia.com/gpu", 56)]
    assert (inventory.offers[0].multiprocessors, inventory.offers[0].memory_bytes) == (14, 4864 * MIB)
    assert [(gpu.name, gpu.memory_bytes, gpu.multiprocessors) for gpu in inventory.gpus] == [("A100-SXM4-40GB", None, None)]


def test_mig_mixed_offers_every_profile() -> None:
    """With strategy mixed each profile has a resource and labels of its own, and the GPU's labels stay the GPU's."""
    labels = gpu_labels("NVIDIA-A100-SXM4-80GB", 2, 81920, mig_strategy="mixed", gpu_replicas="0") | {
        "nvidia.com/mig-1g.10gb.product": "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb",
        "nvidia.com/mig-1g.10gb.count": "2",
        "nvidia.com/mig-1g.10gb.multiprocessors": "14",
        "nvidia.com/mig-1g.10gb.memory": "9728",
        "nvidia.com/mig-1g.10gb.replicas": "1",
        "nvidia.com/mig-3g.40gb.product": "NVIDIA-A100-SXM4-80GB-MIG-3g.40gb",
        "nvidia.com/mig-3g.40gb.multiprocessors": "42",
    }
    inventory = read(labels, **{"mig-1g_10gb": "2", "mig-3g_40gb": "1", "gpu": "0"})

    assert offers(inventory) == [
        ("NVIDIA-A100-SXM4-80GB/mig-1g.10gb", "nvidia.com/mig-1g.10gb", 2),
        ("NVIDIA-A100-SXM4-80GB/mig-3g.40gb", "nvidia.com/mig-3g.40gb", 1),
    ]
    assert [offer.multiprocessors for offer in inventory.offers] == [14, 42]
    assert [(gpu.name, gpu.memory_bytes) for gpu in inventory.gpus] == [("NVIDIA-A100-SXM4-80GB", 81920 * MIB)]


def test_mig_beside_whole_gpus() -> None:
    """On a mixed node GPUs without MIG are whole ones."""
    labels = gpu_labels("NVIDIA-A100-SXM4-40GB", 2, mig_strategy="mixed") | {"nvidia.com/mig-2g.10gb.product": "NVIDIA-A100-SXM4-40GB-MIG-2g.10gb"}

    assert [offer[0] for offer in offers(read(labels, **{"gpu": "1", "mig-2g_10gb": "3"}))] == [
        "NVIDIA-A100-SXM4-40GB/full",
        "NVIDIA-A100-SXM4-40GB/mig-2g.10gb",
    ]


def test_profiles_with_media_extensions_are_their_own_class() -> None:
    """`+me` of the product label, with or without its plus, and `.me` of the resource's name mean one class."""
    for product in ("NVIDIA-H100-PCIe-MIG-1g.10gbme", "NVIDIA-H100-PCIe-MIG-1g.10gb.me"):
        labels = gpu_labels("NVIDIA-H100-PCIe", 1, mig_strategy="mixed") | {"nvidia.com/mig-1g.10gb.me.product": product}

        assert offers(read(labels, **{"mig-1g_10gb_me": "1"})) == [("NVIDIA-H100-PCIe/mig-1g.10gb.me", "nvidia.com/mig-1g.10gb.me", 1)]


@pytest.mark.parametrize(
    ("resource", "product"),
    [("gpu.shared", "NVIDIA-A100-SXM4-40GB"), ("gpu", "NVIDIA-A100-SXM4-40GB-SHARED")],
)
@pytest.mark.parametrize(("strategy", "replicas", "expected"), [("mps", "4", "mps-25"), ("mps", "3", "mps-33"), ("time-slicing", "4", "time-4")])
def test_shared_gpus(resource: str, product: str, strategy: str, replicas: str, expected: str) -> None:
    """Shared GPUs are classes by kind and number of replicas, whether the resource was renamed or the product got its suffix."""
    labels = gpu_labels(product, 2, gpu_replicas=replicas, gpu_sharing__strategy=strategy)
    inventory = read(labels, **{resource.replace(".", "_"): str(2 * int(replicas))})

    assert offers(inventory) == [(f"NVIDIA-A100-SXM4-40GB/{expected}", f"nvidia.com/{resource}", 2 * int(replicas))]
    assert [gpu.memory_bytes for gpu in inventory.gpus] == [40960 * MIB]


AMBIGUOUS = {
    "no product label": ({}, {"gpu": "1"}, "gpu.product is missing"),
    "invalid MIG layout": (gpu_labels("NVIDIA-A100-SXM4-40GB-MIG-INVALID", 0, 0), {"gpu": "1"}, "MIG layout is invalid"),
    "shared, strategy not said": (gpu_labels("Tesla-T4", gpu_replicas="4", gpu_sharing__strategy="none"), {"gpu_shared": "4"}, "how the GPUs are shared"),
    "shared, replicas not said": (gpu_labels("Tesla-T4", gpu_sharing__strategy="mps"), {"gpu_shared": "4"}, "2 or more"),
    "labels say shared, names do not": (gpu_labels("Tesla-T4", gpu_replicas="4", gpu_sharing__strategy="mps"), {"gpu": "4"}, "stale"),
    "replicas without a strategy": (gpu_labels("Tesla-T4", gpu_replicas="4"), {"gpu": "4"}, "stale"),
    "both shared and whole": (gpu_labels("Tesla-T4", gpu_replicas="4", gpu_sharing__strategy="mps"), {"gpu": "1", "gpu_shared": "4"}, "stale"),
    "more than the labels account for": (gpu_labels("Tesla-T4", 1), {"gpu": "4"}, "account for 1 only"),
    "shared MIG": (gpu_labels("A100-SXM4-40GB-MIG-1g.5gb-SHARED", gpu_replicas="2"), {"gpu": "14"}, "time slicing"),
    "shared MIG, mixed": (gpu_labels("A100-SXM4-40GB"), {"mig-1g_5gb_shared": "14"}, "time slicing"),
    "MIG without any product": ({}, {"mig-1g_5gb": "7"}, "not known"),
    "MIG label of another profile": (
        gpu_labels("A100-SXM4-40GB") | {"nvidia.com/mig-1g.5gb.product": "A100-SXM4-40GB-MIG-2g.10gb"}, {"mig-1g_5gb": "7"}, "another profile",
    ),
    "virtual GPUs": (gpu_labels("NVIDIA-A40-48Q", vgpu_present="true"), {"gpu": "1"}, "virtual"),
    "a count that is no number": (gpu_labels("Tesla-T4") | {"nvidia.com/gpu.replicas": "many"}, {"gpu": "1"}, "not a number"),
    "more replicas than any class": (gpu_labels("Tesla-T4", gpu_replicas="200", gpu_sharing__strategy="time-slicing"), {"gpu_shared": "200"}, "200 replicas"),
}  # fmt: skip


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_what_labels_do_not_settle_is_a_problem_and_no_offer(case: str) -> None:
    """An ambiguous or contradictory node offers nothing, and says why."""
    labels, resources, reason = AMBIGUOUS[case]
    inventory = read(labels, **resources)

    assert inventory.offers == ()
    assert any(reason in problem for problem in inventory.problems), inventory.problems


def test_a_problem_with_one_resource_leaves_the_others() -> None:
    """The CPU of a node with broken GPU labels can still be used."""
    inventory = read({"stowplan.dev/device": "xeon"}, gpu="1")

    assert (inventory.cpu_millicores, inventory.cpu_device, len(inventory.problems)) == (64000, "xeon", 1)


_keys = st.sampled_from(
    [
        "nvidia.com/gpu.product",
        "nvidia.com/gpu.replicas",
        "nvidia.com/gpu.memory",
        "nvidia.com/gpu.multiprocessors",
        "nvidia.com/gpu.sharing-strategy",
        "nvidia.com/mig-1g.5gb.product",
        "stowplan.dev/device",
    ]
)
_values = st.sampled_from(["", "-SHARED", "-MIG-", "X-MIG-1g.5gb", "X-MIG-9g.5gb", "mps", "time-slicing", "3", "80GB", "-1", "99999999999"]) | st.text(
    max_size=63
)
_resources = st.sampled_from(["cpu", "memory", "nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-1g.5gb", "nvidia.com/mig-", "nvidia.com/gpu.tenth"])
_amounts = st.sampled_from(["0", "1", "7", "-3", "1e30", "lots", "", "100m"]) | st.text(max_size=8)


@given(st.dictionaries(_keys, _values), st.dictionaries(_resources, _amounts))
def test_no_label_breaks_the_reading(labels: dict[str, str], allocatable: dict[str, str]) -> None:
    """Whatever a node says of itself, there is an inventory: nothing negative, and each offer one that can be written and read back."""
    inventory = nodes.read_inventory("n", labels, allocatable)

    assert inventory.cpu_millicores >= 0
    assert inventory.memory_bytes >= 0
    for offer in inventory.offers:
        assert offer.count > 0
        assert nodes.read_inventory("n", labels, allocatable) == inventory


@pytest.mark.parametrize(
    ("labels", "resources", "broken"),
    [
        (gpu_labels("A100", gpu_memory="80GB", mig_strategy="mixed", gpu_replicas="0"), {"mig-1g_10gb": "2"}, "nvidia.com/gpu.memory"),
        (
            gpu_labels("Tesla-T4-SHARED", gpu_replicas="4", gpu_sharing__strategy="mps", gpu_multiprocessors="forty"),
            {"gpu": "4"},
            "nvidia.com/gpu.multiprocessors",
        ),
    ],
)
def test_an_unreadable_size_of_the_gpu_leaves_its_slices(labels: dict[str, str], resources: dict[str, str], broken: str) -> None:
    """A size that is no number stays unknown with its reason; the slices that do not need it are offered all the same."""
    inventory = read(labels, **resources)

    assert len(inventory.offers) == 1
    [gpu] = inventory.gpus
    assert None in (gpu.memory_bytes, gpu.multiprocessors)
    assert [broken in problem for problem in inventory.problems] == [True]
