"""What slices cost: told by settings, by labels of nodes, or else a share of the device; and how that ranks the rungs."""

from fractions import Fraction

import pytest
from stowplan_fleet import keys, slices
from stowplan_fleet.answers import Basis
from stowplan_fleet.errors import ValueRefused
from stowplan_fleet.nodes import NodeInventory, NodeName, ResourceName, SliceOffer
from stowplan_fleet.services import PlacementPolicy
from stowplan_fleet.slices import DeviceName
from stowplan_operator.errors import StartRefused
from stowplan_operator.settings import OperatorSettings, SizingSettings
from stowplan_operator.sizing.candidates import Candidate, candidates
from stowplan_operator.sizing.prices import Prices, labelled, parse_prices
from stowplan_operator.sizing.rungs import Rung
from support.operator_scenes import Scene

A100, T4 = "NVIDIA-A100-SXM4-80GB", "Tesla-T4"


def gpu_node(name: str, device: str, slice_: str, resource: str) -> NodeInventory:
    return NodeInventory(NodeName(name), 4000, 1 << 30, None, (SliceOffer(slices.parse_slice_class(f"{device}/{slice_}"), ResourceName(resource), 2),))


def cost(prices: Prices, text: str) -> tuple[Fraction, bool]:
    found = prices.cost_of(slices.parse_slice_class(text))
    return found.amount, found.priced


@pytest.mark.parametrize(
    ("slice_class", "expected"),
    [
        (f"{A100}/mig-1g.10gb", (Fraction(9, 10), True)),
        (f"{A100}/mig-3g.40gb", (Fraction(3, 7) * Fraction(32, 10), True)),
        (f"{A100}/full", (Fraction(32, 10), True)),
        ("epyc/cpu:500m", (Fraction(1, 40), True)),
        (f"{T4}/time-4", (Fraction(1, 4), False)),
        ("unheard-of/cpu:3", (Fraction(3), False)),
    ],
)
def test_a_class_has_its_own_price_or_its_share_of_the_device(slice_class: str, expected: tuple[Fraction, bool]) -> None:
    """A price of the class counts first, then the share of what its device costs; where neither is told, the share alone, which is no price."""
    assert cost(parse_prices([f"{A100}=3.2", f"{A100}/mig-1g.10gb=0.9", "epyc=0.05"]), slice_class) == expected


@pytest.mark.parametrize("text", ["3.2", f"{A100}=dear", f"{A100}=-1", f"{A100}=1e999", f"{A100}/half=1", "=1", f"{A100}=", f"{A100}=0x10", f"{A100}=nan"])
def test_a_price_that_means_nothing_is_refused(text: str) -> None:
    """What is neither DEVICE=PRICE nor DEVICE/SLICE=PRICE stops the operator at its start, with the setting's name."""
    with pytest.raises(ValueRefused):
        parse_prices([text])
    with pytest.raises(StartRefused, match=r"sizing\.prices: "):
        OperatorSettings(sizing=SizingSettings(prices=(text,)))


def test_helms_spelling_of_large_numbers_is_read() -> None:
    """Helm writes a million as 1e+06."""
    assert cost(parse_prices(["epyc=1e+06"]), "epyc/cpu:1") == (Fraction(1_000_000), True)


def test_nodes_tell_prices_by_labels_and_settings_win() -> None:
    """The label is of one GPU or one core; of two nodes with the same device the dearer counts; a price in the settings wins; nonsense is a problem by name."""
    nodes = [
        (gpu_node("a", A100, "mig-1g.10gb", "nvidia.com/mig-1g.10gb"), {keys.GPU_PRICE_LABEL: "2.80"}),
        (gpu_node("b", A100, "mig-1g.10gb", "nvidia.com/mig-1g.10gb"), {keys.GPU_PRICE_LABEL: "3.50"}),
        (NodeInventory(NodeName("c"), 4000, 1 << 30, DeviceName("epyc")), {keys.CORE_PRICE_LABEL: "0.04", keys.GPU_PRICE_LABEL: "9"}),
        (NodeInventory(NodeName("d"), 4000, 1 << 30, DeviceName("xeon")), {keys.CORE_PRICE_LABEL: "cheap"}),
    ]
    told, problems = labelled(nodes)
    assert cost(told, f"{A100}/full") == (Fraction(35, 10), True)
    assert cost(told, "epyc/cpu:2") == (Fraction(8, 100), True)
    assert cost(told, "xeon/cpu:2") == (Fraction(2), False)
    assert problems == ("node d: price of 'stowplan.dev/core-price': 'cheap' is no decimal number from 0 up",)
    assert cost(parse_prices([f"{A100}=1"]).over(told), f"{A100}/full") == (Fraction(1), True)


def test_nodes_tell_prices_of_single_slice_classes_by_labels() -> None:
    """By the slice's name, a dash for the colon that labels lack: it wins over the share of the device's price; the dearer node counts; nonsense is told."""
    label = keys.SLICE_PRICE_LABEL
    nodes = [
        (gpu_node("a", A100, "mig-1g.10gb", "nvidia.com/mig-1g.10gb"), {keys.GPU_PRICE_LABEL: "3.5", f"{label}mig-1g.10gb": "0.7"}),
        (gpu_node("b", A100, "mig-1g.10gb", "nvidia.com/mig-1g.10gb"), {f"{label}mig-1g.10gb": "0.8", f"{label}cpu-2": "1"}),
        (
            NodeInventory(NodeName("c"), 4000, 1 << 30, DeviceName("epyc")),
            {f"{label}cpu-2": "0.05", f"{label}cpu-500m": "0.02"},
        ),
        (NodeInventory(NodeName("d"), 4000, 1 << 30, DeviceName("xeon")), {f"{label}half": "1", f"{label}cpu-1": "dear"}),
    ]
    told, problems = labelled(nodes)
    assert cost(told, f"{A100}/mig-1g.10gb") == (Fraction(8, 10), True)
    assert cost(told, f"{A100}/full") == (Fraction(35, 10), True)
    assert (cost(told, "epyc/cpu:2"), cost(told, "epyc/cpu:500m")) == ((Fraction(5, 100), True), (Fraction(2, 100), True))
    assert cost(told, "epyc/cpu:1") == (Fraction(1), False)
    assert [problem.partition(": ")[0] + ": " + problem.split(": ")[1] for problem in problems] == [
        "node d: label slice-price.stowplan.dev/half",
        "node d: label slice-price.stowplan.dev/cpu-1",
    ]
    assert cost(parse_prices([f"{A100}/mig-1g.10gb=9"]).over(told), f"{A100}/mig-1g.10gb") == (Fraction(9), True)


def test_what_has_no_price_comes_last() -> None:
    """A rung of a class without a price is tried after every one with a price, however small its share: an unknown price is not a low one."""
    nodes = [gpu_node("a", A100, "full", "nvidia.com/gpu"), gpu_node("b", T4, "time-4", "nvidia.com/gpu.shared")]
    found = candidates(nodes, PlacementPolicy(), "tensorrt", parse_prices([f"{A100}=3.2"]))
    rungs = [Rung(candidate, 1, 10.0, Basis.MEASURED, meets_slo=True, allowed=True, reason="") for candidate in found]
    assert [str(rung.candidate.slice_class) for rung in sorted(rungs, key=lambda rung: rung.rank)] == [f"{A100}/full", f"{T4}/time-4"]
    assert isinstance(found[0], Candidate)


async def test_a_nodes_label_of_a_slice_class_ranks_the_ladder() -> None:
    """Two cores at a bargain are taken, though one core would do."""
    scene = Scene()
    scene.world.node_list.clear()
    scene.world.put_node(labels={keys.CORE_PRICE_LABEL: "2", f"{keys.SLICE_PRICE_LABEL}cpu-2": "1.5"})
    await scene.look()
    assert [(rung["sliceClass"], rung["cost"], rung.get("skipped")) for rung in scene.status["ladder"][:2]] == [
        ("test-cpu/cpu:2", 1.5, None),
        ("test-cpu/cpu:1", 2, "Dearer"),
    ]


async def test_the_ladder_shows_cost_and_why_each_rung_was_skipped() -> None:
    """A dear core makes two cores the cheaper rung; the status tells cost, its basis and why the others were skipped."""
    scene = Scene(slo={"latencyMilliseconds": 10})
    scene.settings = OperatorSettings(sizing=SizingSettings(prices=("test-cpu/cpu:3=7", "test-cpu=2", "test-cpu/cpu:4=5")))
    scene.restart()
    await scene.look()
    rows = [(rung["sliceClass"], rung["cost"], rung["costBasis"], rung.get("skipped")) for rung in scene.status["ladder"]]
    assert scene.status["sliceClass"] == "test-cpu/cpu:4"
    assert rows == [
        ("test-cpu/cpu:4", 5, "price", None),
        ("test-cpu/cpu:3", 7, "price", "Dearer"),
        ("test-cpu/cpu:1", 8, "price", "MissesObjective"),
        ("test-cpu/cpu:2", 16, "price", "MissesObjective"),
    ]
