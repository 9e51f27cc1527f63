"""One GPU model on many nodes: what is judged holds on each of them."""

import itertools
from types import MappingProxyType

from hypothesis import given
from hypothesis import strategies as st
from stowplan_fleet.devices import GpuDevice, GpuInstance, merged_gpus
from stowplan_fleet.nodes import read_inventory
from stowplan_fleet.slices import DeviceName
from support import gpu_nodes

NVL = DeviceName("NVIDIA-H100-NVL")
_sizes = st.none() | st.integers(1, 200)
_gpus = st.builds(
    GpuDevice, st.sampled_from([NVL, DeviceName("Tesla-T4")]), _sizes, _sizes,
    st.dictionaries(st.sampled_from(["1g.12gb", "1g.24gb"]), st.builds(GpuInstance, _sizes, _sizes)).map(MappingProxyType),
)  # fmt: skip


@given(st.lists(_gpus, max_size=5))
def test_nothing_is_larger_than_on_any_node_and_nothing_told_is_lost(found: list[GpuDevice]) -> None:
    """Every product, every instance; of sizes the least that anybody told, whatever the order."""
    merged = merged_gpus(found)

    assert set(merged) == {gpu.name for gpu in found}
    for name, gpu in merged.items():
        own = [item for item in found if item.name == name]
        assert gpu.multiprocessors == min((item.multiprocessors for item in own if item.multiprocessors), default=None)
        assert gpu.memory_bytes == min((item.memory_bytes for item in own if item.memory_bytes), default=None)
        assert set(gpu.instances) == set().union(*(item.instances for item in own))
        for profile, instance in gpu.instances.items():
            told = [item.instances[profile].multiprocessors for item in own if profile in item.instances]
            assert instance.multiprocessors == min((size for size in told if size), default=None)
    assert all(merged_gpus(order) == merged for order in itertools.islice(itertools.permutations(found), 6))


def test_nodes_that_are_cut_differently_describe_one_model_together() -> None:
    """One node has 1g.12gb and 1g.24gb, another 3g.47gb: the model has all three."""
    other = gpu_nodes.mig("NVIDIA-H100-NVL", 95830, {"3g.47gb": (2, 47488, 60), "1g.24gb": (1, 22144, 26)})
    inventories = [read_inventory(str(index), node.full_labels, node.resources) for index, node in enumerate((gpu_nodes.MIG_TWO_GPUS, other))]
    merged = merged_gpus(gpu for inventory in inventories for gpu in inventory.gpus)[NVL]

    assert {profile: instance.multiprocessors for profile, instance in merged.instances.items()} == {"1g.12gb": 16, "1g.24gb": 16, "3g.47gb": 60}
    assert merged.memory_bytes == 95830 << 20
