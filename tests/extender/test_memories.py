"""Memory decides per node whether a pod fits, and makes no two machines of one kind two kinds of nodes."""

import asyncio
import random
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from stowplan_extender.cluster.lodgings import newcomer_of, record_of
from stowplan_extender.cluster.memories import FreeMemory
from stowplan_extender.decision import placings
from stowplan_extender.decision.verdicts import Acceptance
from stowplan_extender.recording import recordings
from stowplan_extender.recording.recorders import CURRENT
from stowplan_extender.settings import RecordingSettings
from stowplan_fleet.manifests import decoding, nodes
from stowplan_fleet.manifests.nodes import NodeManifest
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_fleet.nodes import NodeName
from support.harbours import node_json, pod_json
from support.quays import Quay

MIB = 1 << 20


def put_node(quay: Quay, name: str, memory_kib: int, cores: int = 4, device: str = "toy-cpu") -> None:
    plain = node_json(name, cores, device)
    plain["status"]["allocatable"]["memory"] = f"{memory_kib}Ki"
    quay.view.put_node(nodes.inventory_of(decoding.from_plain(plain, NodeManifest)))


def put_pod(quay: Quay, name: str, of: str | None, memory: str, node_name: str = "") -> None:
    plain = pod_json(name, of, node_name=node_name)
    plain["spec"]["containers"][0]["resources"]["requests"]["memory"] = memory
    quay.calls.pods[f"vision/{name}"] = plain
    quay.watch(name)


async def test_five_thousand_machines_of_a_dozen_kinds_are_a_dozen_kinds() -> None:
    """No two have the same memory, and each carries agents that ask for a little of it; a filter judges twelve signatures, and asks for as many at most."""
    quay = Quay(ant=10.0)
    quay.service("ant")
    drawn = random.Random(7)
    names = [f"node-{index}" for index in range(5_000)]
    for index, name in enumerate(names):
        put_node(quay, name, 64 * MIB + drawn.randrange(4 * MIB // 1024), cores=4 + index % 12)
    for index in range(500):
        put_pod(quay, f"agent-{index}", None, f"{drawn.randrange(50, 500)}Mi", node_name=names[index])
        quay.calls.pods[f"vision/agent-{index}"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "0"
        quay.watch(f"agent-{index}")
    quay.view.settle()
    assert quay.view.sizes()["signatures"] == 12
    put_pod(quay, "p", "ant", "1Gi")
    result = await quay.verbs.filter(quay.args("p", *names))
    assert result.node_names
    assert result.error == ""
    assert quay.toy.questions <= 12


sizes = st.lists(st.tuples(st.integers(100, 2_000), st.sampled_from(["toy-cpu", "other"]), st.integers(0, 3)), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(1, 2_500), st.lists(st.tuples(st.integers(0, 5), st.integers(1, 1_500)), max_size=3))
def test_the_filter_says_of_every_node_what_the_core_says(kinds: list[tuple[int, str, int]], asked_mib: int, promised: list[tuple[int, int]]) -> None:
    """Whatever the nodes have, their pods and promises take and the newcomer asks for: the same verdict as from the whole state; a record gives it again."""
    quay = Quay(ant=10.0)
    quay.service("ant")
    names = [f"n{index}" for index in range(len(kinds))]
    for name, (mib, device, others) in zip(names, kinds, strict=True):
        put_node(quay, name, mib * 1024, device=device)
        for index in range(others):
            put_pod(quay, f"{name}-{index}", None, "128Mi", node_name=name)
    for number, (index, mib) in enumerate(promised):
        plain = pod_json(f"q{number}", "ant")
        plain["spec"]["containers"][0]["resources"]["requests"]["memory"] = f"{mib}Mi"
        lodger = newcomer_of(record_of(decoding.from_plain(plain, PodManifest)), quay.view.service).lodger
        quay.view.reservations.promise(NodeName(names[index % len(names)]), lodger)
    put_pod(quay, "p", "ant", f"{asked_mib}Mi")
    newcomer = newcomer_of(record_of(decoding.from_plain(quay.calls.pods["vision/p"], PodManifest)), quay.view.service)
    # Twice: what is remembered of the first time is no other.
    for _ in range(2):
        ruling = asyncio.run(quay.judge.rule(newcomer, names))
        states = [state for name in names if (state := quay.view.state(NodeName(name))) is not None]
        placed = placings.place(newcomer, states, {inquiry: quay.toy.answer(inquiry.question) for inquiry in placings.inquire(newcomer, states)})
        assert dict(ruling.accepted) == dict(placed.accepted)
        assert ruling.refused == placed.refused


async def test_two_pods_do_not_get_the_same_memory(tmp_path: Path) -> None:
    """What was promised to the first is not offered to the second, before any watch shows it; the records of all that come out the same at a desk."""
    quay = Quay(None, 0, RecordingSettings(str(tmp_path)), ant=10.0)
    quay.service("ant", slo_ms=500)
    put_node(quay, "one", 1_500 * 1024)
    put_node(quay, "two", 900 * 1024)
    for name in ("p", "q"):
        put_pod(quay, name, "ant", "1Gi")
    first = await quay.verbs.filter(quay.args("p", "one", "two"))
    assert (first.node_names, first.failed_nodes) == (["one"], {"two": "has no free slice toy-cpu/cpu:1"})
    await quay.bind("p", "one")
    second = await quay.verbs.filter(quay.args("q", "one", "two"))
    assert (second.node_names, sorted(second.failed_nodes)) == ([], ["one", "two"])
    for number, line in enumerate((tmp_path / CURRENT).read_bytes().splitlines()):
        record = recordings.read(line, f"line {number}")
        assert recordings.replay(record, recordings.answers_of(record)) == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(-5, 20), st.integers(0, 21)), max_size=30))
def test_who_is_short_is_always_known(history: list[tuple[str, int | None, int]]) -> None:
    """After any history of notes, the nodes with less than an amount are those whose last note says so."""
    memory, left = FreeMemory(), dict[NodeName, int | None]()
    for name, amount, asked in history:
        memory.note(NodeName(name), amount)
        left[NodeName(name)] = amount
        assert memory.short_of(asked) == {node for node, there in left.items() if there is not None and there < asked}


def test_a_node_short_of_memory_is_never_the_best() -> None:
    """A node that is best by everything else is not returned where its memory is too little."""
    quay = Quay(ant=10.0)
    quay.service("ant")
    put_node(quay, "full", 512 * 1024, cores=1)
    put_node(quay, "roomy", 64 * MIB, cores=8)
    put_pod(quay, "p", "ant", "1Gi")
    newcomer = newcomer_of(record_of(decoding.from_plain(quay.calls.pods["vision/p"], PodManifest)), quay.view.service)
    ruling = asyncio.run(quay.judge.rule(newcomer, ["full", "roomy"]))
    assert [name for name, verdict in ruling.accepted if isinstance(verdict, Acceptance)] == ["roomy"]
