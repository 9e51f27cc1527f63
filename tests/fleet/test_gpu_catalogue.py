"""What a GPU and each of its slices have, held against what was published and measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_fleet.devices import GpuDevice, GpuInstance
from stowplan_fleet.errors import ShareRefused
from stowplan_fleet.gpus import layouts
from stowplan_fleet.gpus.catalogue import Gpu, find, gpus
from stowplan_fleet.gpus.shares import mps_multiprocessors, share_of
from stowplan_fleet.nodes import read_inventory
from stowplan_fleet.slices import DeviceName, parse_slice

EVERY = st.sampled_from(gpus())
CUT = st.sampled_from([gpu for gpu in gpus() if gpu.mig])


def named(product: str) -> Gpu:
    gpu = find(product)
    assert gpu is not None
    return gpu


def test_every_model_the_users_run_is_there() -> None:
    """T4 to B200, by the labels that real nodes wear, by older drivers' names and by clouds' names."""
    for name in ("Tesla-T4", "Tesla-V100-SXM2-32GB", "NVIDIA-A10", "NVIDIA-A10G", "NVIDIA-A30", "NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-80GB-PCIe",
                 "NVIDIA-L4", "NVIDIA-L40S", "NVIDIA-H100-PCIe", "NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-NVL", "NVIDIA-H200", "NVIDIA-B200"):  # fmt: skip
        assert named(name).product == name
    assert named("A100-SXM4-40GB").product == "NVIDIA-A100-SXM4-40GB"
    assert named("nvidia-h100-80gb").product == "NVIDIA-H100-80GB-HBM3"
    assert find("Radeon-Instinct-MI300X") is None


def test_names_are_unambiguous() -> None:
    """No name leads to two models."""
    names = [name for gpu in gpus() for name in (gpu.product, *gpu.aliases)]
    assert all(named(name) is gpu for gpu in gpus() for name in (gpu.product, *gpu.aliases))
    assert len({gpu.product for gpu in gpus()}) == len(gpus()) <= len(names)


@given(EVERY)
def test_the_numbers_of_a_model_belong_together(gpu: Gpu) -> None:
    """Cores are a whole number a multiprocessor; the FP32 peak is cores x 2 x boost clock within rounding; every row names its sources."""
    assert gpu.cuda_cores % gpu.multiprocessors == 0
    assert gpu.fp32_flops_per_second == pytest.approx(gpu.cuda_cores * 2 * gpu.boost_clock_mhz * 1e6, rel=0.16)
    assert gpu.sources


@given(CUT, st.data())
def test_instances_of_a_legal_layout_never_exceed_their_gpu(gpu: Gpu, data: st.DataObject) -> None:
    """Multiprocessors, compute slices, memory and bandwidth of what fits together stay within the GPU's own."""
    assert gpu.mig is not None
    chosen: list[str] = []
    for name in data.draw(st.lists(st.sampled_from([item.profile for item in gpu.mig.profiles]), max_size=8)):
        if layouts.fits(gpu, [*chosen, name]):
            chosen.append(name)
    found = [item for name in chosen if (item := gpu.profile(name))]
    assert sum(item.compute_slices for item in found) <= max(item.compute_slices for item in gpu.mig.profiles)
    assert sum(item.memory_slices for item in found) <= gpu.mig.memory_slices
    if all(item.multiprocessors for item in found):
        shares = [share_of(GpuDevice(DeviceName(gpu.product)), parse_slice(f"mig-{name}")) for name in chosen]
        assert sum(share.multiprocessors for share in shares) <= gpu.multiprocessors
        assert sum(share.bandwidth_bytes_per_second for share in shares) <= gpu.bandwidth_bytes_per_second * (1 + 1e-9)
        assert sum(share.memory_bytes for share in shares) <= gpu.memory_bytes


def test_names_of_profiles_are_rounded_up_and_their_memory_is_not() -> None:
    """Four of `18gb` and one of `71gb` fit an H200 of 141 GiB, though the names come to 143."""
    chosen = ["3g.71gb", "1g.18gb", "1g.18gb", "1g.18gb", "1g.18gb"]
    gpu = named("NVIDIA-H200")
    assert layouts.fits(gpu, chosen)
    assert sum(share_of(GpuDevice(DeviceName(gpu.product)), parse_slice(f"mig-{name}")).memory_bytes for name in chosen) <= gpu.memory_bytes


@given(CUT, st.data(), st.integers(1, 200))
def test_what_a_node_says_of_its_instances_wins_over_the_table(gpu: Gpu, data: st.DataObject, multiprocessors: int) -> None:
    """For every model and profile, published or not; compute follows the multiprocessors, bandwidth and cache the memory slices."""
    assert gpu.mig is not None
    profile = data.draw(st.sampled_from(gpu.mig.profiles))
    told = GpuDevice(DeviceName(gpu.product), instances={profile.profile: GpuInstance(multiprocessors, 5 << 30)})
    share = share_of(told, parse_slice(f"mig-{profile.profile}"))

    assert (share.multiprocessors, share.memory_bytes) == (multiprocessors, 5 << 30)
    assert share.flops_per_second == pytest.approx(gpu.fp32_flops_per_second * multiprocessors / gpu.multiprocessors)
    assert share.bandwidth_bytes_per_second == pytest.approx(gpu.bandwidth_bytes_per_second * profile.memory_slices / gpu.mig.memory_slices)


@given(CUT)
def test_a_larger_instance_of_one_gpu_has_no_less_of_anything(gpu: Gpu) -> None:
    """More compute and memory slices never mean fewer multiprocessors, less bandwidth, cache or memory; and none has more than the whole."""
    assert gpu.mig is not None
    known = [item for item in gpu.mig.profiles if item.multiprocessors]
    shares = {item.profile: share_of(GpuDevice(DeviceName(gpu.product)), parse_slice(f"mig-{item.profile}")) for item in known}
    whole = share_of(GpuDevice(DeviceName(gpu.product)), parse_slice("full"))
    for one in known:
        for other in known:
            if one.compute_slices <= other.compute_slices and one.memory_slices <= other.memory_slices:
                less, more = shares[one.profile], shares[other.profile]
                assert (less.multiprocessors, less.memory_bytes) <= (more.multiprocessors, more.memory_bytes)
                assert less.flops_per_second <= more.flops_per_second
                assert less.bandwidth_bytes_per_second <= more.bandwidth_bytes_per_second
                assert less.l2_bytes <= more.l2_bytes
        assert shares[one.profile].multiprocessors <= whole.multiprocessors
        assert shares[one.profile].memory_bytes <= whole.memory_bytes


@given(EVERY, st.integers(2, 48))
def test_replicas_together_never_promise_more_than_the_gpu_has(gpu: Gpu, replicas: int) -> None:
    """Under MPS the memory of all replicas fits the GPU; under time slicing their shares of the time do."""
    device = GpuDevice(DeviceName(gpu.product))
    time = share_of(device, parse_slice(f"time-{replicas}"))
    assert time.time_share * replicas == pytest.approx(1.0)
    assert not time.isolated
    try:
        part = share_of(device, parse_slice(f"mps-{100 // replicas}"))
    except ShareRefused:
        return
    assert part.memory_bytes * replicas <= gpu.memory_bytes
    assert not part.isolated


@pytest.mark.parametrize(
    ("product", "multiprocessors"),
    [
        ("NVIDIA-A30", {"1g.6gb": 14, "2g.12gb": 28, "4g.24gb": 56}),
        ("NVIDIA-A100-SXM4-80GB", {"1g.10gb": 14, "1g.20gb": 14, "2g.20gb": 28, "3g.40gb": 42, "4g.40gb": 56, "7g.80gb": 98}),
        ("NVIDIA-H100-PCIe", {"1g.10gb": 14, "1g.20gb": 14, "2g.20gb": 30, "3g.40gb": 46, "4g.40gb": 62, "7g.80gb": 114}),
        ("NVIDIA-H100-80GB-HBM3", {"1g.10gb": 16, "1g.20gb": 26, "2g.20gb": 32, "3g.40gb": 60, "4g.40gb": 64, "7g.80gb": 132}),
        ("NVIDIA-H100-NVL", {"1g.12gb": 16, "1g.24gb": 26, "2g.24gb": 32, "3g.47gb": 60, "4g.47gb": 64, "7g.94gb": 132}),
        ("NVIDIA-H200", {"1g.18gb": 16, "1g.35gb": 26, "2g.35gb": 32, "3g.71gb": 60, "4g.71gb": 64, "7g.141gb": 132}),
    ],
)
def test_instances_have_the_multiprocessors_that_nvidia_smi_lists(product: str, multiprocessors: dict[str, int]) -> None:
    """As printed by `nvidia-smi mig -lgip` on real cards."""
    assert {
        item.profile: item.multiprocessors for item in (named(product).mig or pytest.fail("not cut")).profiles if "me" not in item.profile
    } == multiprocessors


@pytest.mark.parametrize(
    ("profiles", "legal"),
    [
        (["1g.5gb"] * 7, True), (["1g.5gb"] * 8, False), (["3g.20gb", "3g.20gb"], True), (["3g.20gb", "4g.20gb"], True), (["4g.20gb", "4g.20gb"], False),
        (["3g.20gb", "3g.20gb", "1g.5gb"], False), (["2g.10gb"] * 3 + ["1g.5gb"], True), (["1g.5gb.me"] * 2, False), (["7g.40gb", "1g.5gb"], False),
        (["4g.20gb", "2g.10gb", "1g.5gb"], True), (["9g.90gb"], False),
    ],
)  # fmt: skip
def test_layouts_are_those_that_nvidia_allows(profiles: list[str], legal: bool) -> None:  # noqa: FBT001 - a table
    """The known combinations of an A100: 3g + 3g waste a compute slice, 4g + 3g do not overlap, media engines exist once."""
    assert layouts.fits(named("NVIDIA-A100-SXM4-40GB"), profiles) is legal


@pytest.mark.parametrize(
    ("product", "percents", "multiprocessors"),
    [
        ("NVIDIA-H200", [1, 7, 8, 10, 11, 13, 14, 20, 25, 30, 40, 46, 50, 70, 100], [8, 8, 10, 12, 14, 16, 18, 26, 32, 38, 52, 60, 66, 92, 132]),
        ("Tesla-T4", [5, 20], [2, 8]),
        ("NVIDIA-B200", [15, 17, 91, 93], [22, 24, 134, 136]),
    ],
)
def test_percentages_become_the_multiprocessors_that_were_measured(product: str, percents: list[int], multiprocessors: list[int]) -> None:
    """The rounding rule meets every published measurement."""
    assert [mps_multiprocessors(named(product), percent) for percent in percents] == multiprocessors


@given(EVERY, st.integers(1, 100), st.integers(1, 100))
def test_more_percent_never_means_fewer_multiprocessors(gpu: Gpu, one: int, other: int) -> None:
    """Monotone, where the answer is known at all."""
    low, high = sorted((one, other))
    try:
        assert mps_multiprocessors(gpu, low) <= mps_multiprocessors(gpu, high) <= gpu.multiprocessors
    except ShareRefused:
        assert gpu.multiprocessors * low // 200 * 2 < 8


def test_what_nobody_published_is_unknown_until_a_node_tells_it() -> None:
    """A B200's profiles: refused from the catalogue alone, exact with the node's label; a label wins over the table too."""
    with pytest.raises(ShareRefused, match=r"published nowhere.*multiprocessors"):
        share_of(GpuDevice(DeviceName("NVIDIA-B200")), parse_slice("mig-1g.23gb"))
    told = GpuDevice(DeviceName("NVIDIA-B200"), instances={"1g.23gb": GpuInstance(18, 23 << 30)})
    assert share_of(told, parse_slice("mig-1g.23gb")).multiprocessors == 18
    other = GpuDevice(DeviceName("NVIDIA-A100-SXM4-40GB"), instances={"1g.5gb": GpuInstance(13)})
    assert share_of(other, parse_slice("mig-1g.5gb")).multiprocessors == 13


def test_a_mig_share_is_by_slices_and_not_by_sevenths() -> None:
    """Half of an H200's memory comes with half of its bandwidth and 60 of its 132 multiprocessors (read on a real one)."""
    share = share_of(GpuDevice(DeviceName("NVIDIA-H200")), parse_slice("mig-3g.71gb"))
    assert (share.multiprocessors, share.memory_bytes) == (60, 71424 << 20)
    assert share.bandwidth_bytes_per_second == pytest.approx(2.407e12, rel=0.01)
    assert share.isolated


@pytest.mark.parametrize("text", ["mig-9g.90gb", "cpu:1"])
def test_a_slice_that_a_gpu_does_not_have_is_refused_by_name(text: str) -> None:
    """The message names the GPU and what it has."""
    with pytest.raises(ShareRefused, match=r"A100-SXM4-40GB"):
        share_of(GpuDevice(DeviceName("NVIDIA-A100-SXM4-40GB")), parse_slice(text) if text != "mig-9g.90gb" else parse_slice("mig-7g.90gb"))


def test_what_labels_say_of_instances_reaches_the_share() -> None:
    """From the labels of a node with strategy mixed to the multiprocessors that are judged."""
    labels = {
        "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB",
        "nvidia.com/gpu.count": "1",
        "nvidia.com/mig-3g.20gb.product": "NVIDIA-A100-SXM4-40GB-MIG-3g.20gb",
        "nvidia.com/mig-3g.20gb.multiprocessors": "41",
        "nvidia.com/mig-3g.20gb.memory": "19968",
    }
    inventory = read_inventory("node", labels, {"cpu": "8", "nvidia.com/mig-3g.20gb": "2"})
    assert share_of(inventory.gpus[0], parse_slice("mig-3g.20gb")).multiprocessors == 41
