"""A recorded decision holds all that it rested on: the same inputs give the same outcome again, at any desk."""

import asyncio
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stowplan_extender.errors import ExtenderError
from stowplan_extender.recording import recordings
from stowplan_extender.recording.recorders import BEFORE, CURRENT
from stowplan_extender.recording.recordings import Record
from stowplan_extender.settings import RecordingSettings
from stowplan_fleet.errors import ManifestRefused
from support.quays import Quay


def a_quay(folder: Path, best_k: int = 0, decisions: int = 1000, size: int = 1 << 20) -> Quay:
    quay = Quay(None, best_k, RecordingSettings(str(folder), decisions, size), ant=10.0, bee=8.0)
    quay.service("ant", slo_ms=20)
    quay.service("bee", slo_ms=14)
    for name in ("one", "two", "three"):
        quay.node(name, cores=2)
    return quay


def records(folder: Path) -> list[Record]:
    lines = (folder / CURRENT).read_bytes().splitlines()
    return [recordings.read(line, f"line {number}") for number, line in enumerate(lines)]


def replayed(record: Record) -> list[str]:
    return recordings.replay(record, recordings.answers_of(record))


steps = st.lists(
    st.tuples(
        st.sampled_from(["filter", "bind", "age", "away", "back", "another bundle"]),
        st.integers(0, 7),
        st.sampled_from(["ant", "bee"]),
        st.sampled_from(["one", "two", "three"]),
    ),
    min_size=1,
    max_size=14,
)


async def play(quay: Quay, history: list[tuple[str, int, str, str]]) -> None:
    for what, index, of, node in history:
        name = f"p{index}"
        if f"vision/{name}" not in quay.calls.pods:
            quay.pod(name, of)
        try:
            match what:
                case "filter":
                    await quay.verbs.filter(quay.args(name, "one", "two", "three", "nobody's"))
                case "bind":
                    await quay.bind(name, node)
                case "age":
                    quay.clock.now += 61
                case "another bundle":
                    quay.toy.bundle += "1"
                case _:
                    quay.toy.up = what == "back"
        except ExtenderError:
            continue


@settings(max_examples=25, deadline=None)
@given(steps, st.integers(0, 2))
def test_every_recorded_decision_comes_out_the_same_again(history: list[tuple[str, int, str, str]], best_k: int) -> None:
    """Warm and cold, with remembered answers, without a predictor, after a bundle changed, with nodes left out: from the line of JSON alone."""
    with tempfile.TemporaryDirectory() as folder:
        quay = a_quay(Path(folder), best_k)
        asyncio.run(play(quay, [*history, ("filter", 0, "ant", "one")]))
        found = records(Path(folder))
        assert found
        assert [difference for record in found for difference in replayed(record)] == []
        assert {name for record in found for name in record.returned} <= {"one", "two", "three"}


async def test_a_binding_records_what_it_wrote(tmp_path: Path) -> None:
    """The record of a binding names the pod and holds the prediction that stands on the pod, and the bundle that made it."""
    quay = a_quay(tmp_path)
    quay.pod("p", "ant")
    await quay.bind("p", "one")
    (record,) = records(tmp_path)
    [(_, _, annotations)] = quay.calls.written
    (outcome,) = record.verdicts
    assert (record.verb, record.pod, record.returned) == ("bind", "vision/p", ["one"])
    assert f"{outcome.predicted_milliseconds:.3f}" == annotations["stowplan.dev/predicted-milliseconds"]
    assert {said.bundle for said in record.said} == {annotations["stowplan.dev/bundle"]}


async def test_what_comes_out_otherwise_is_named(tmp_path: Path) -> None:
    """An outcome, an answer or an objective that was altered shows with the node, what was recorded, and what comes out now."""
    quay = a_quay(tmp_path)
    quay.pod("p", "ant")
    await quay.verbs.filter(quay.args("p", "one", "two"))
    line = (tmp_path / CURRENT).read_bytes()
    plain = json.loads(line)
    plain["newcomer"]["tenancy"]["service"]["slo"]["latency_ms"] = 5.0
    (first, second) = replayed(recordings.read(json.dumps(plain).encode(), "here"))
    assert first.startswith("node one and 1 like it: accepted at 12.360000000000001 ms (score 5, measured), and now refused: ")
    assert second == "nodes one, two were returned, and now none"
    plain = json.loads(line)
    plain["verdicts"][0]["score"] = 7
    assert len(replayed(recordings.read(json.dumps(plain).encode(), "here"))) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"not json", "here: not a recorded decision"),
        (b'{"format": 99}', "here: a record of format 99"),
        (b'{"format": 2, "verb": "filter"}', "here: not a recorded decision"),
        (b"[" * 100_000, "here: not a recorded decision"),
    ],
)
def test_what_is_no_record_is_refused_by_line(text: bytes, said: str) -> None:
    """Rubbish, a newer format and half a record are refused with where they stand."""
    with pytest.raises(ManifestRefused, match=said):
        recordings.read(text, "here")


async def test_numbers_and_bytes_are_bounded_and_the_latest_are_there(tmp_path: Path) -> None:
    """However many decisions are made, both files together stay within the bounds, and at least half of the bound is kept."""
    quay = a_quay(tmp_path, decisions=10)
    quay.pod("p", "ant")
    for _ in range(33):
        await quay.verbs.filter(quay.args("p", "one"))
    counts = [len((tmp_path / name).read_bytes().splitlines()) for name in (CURRENT, BEFORE)]
    assert counts == [3, 5]
    small = tmp_path / "small"
    quay = a_quay(small, size=8 << 10)
    quay.pod("p", "ant")
    for _ in range(50):
        await quay.verbs.filter(quay.args("p", "one"))
    total = sum((small / name).stat().st_size for name in (CURRENT, BEFORE))
    assert 2 << 10 < total <= 8 << 10
    quay.pod("q", "ant")
    for index in range(200):
        quay.node(f"node-{index}", cores=2 + index)
    await quay.verbs.filter(quay.args("q", *(f"node-{index}" for index in range(200))))
    assert quay.metrics.records.labels("too large")._value.get() == 1


async def test_a_disk_that_fails_costs_records_and_no_decisions(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder that cannot be written is said once in the log and counted each time; the filter answers as ever."""
    (tmp_path / "file").write_text("in the way")
    quay = a_quay(tmp_path / "file" / "folder")
    quay.pod("p", "ant")
    for _ in range(3):
        assert (await quay.verbs.filter(quay.args("p", "one"))).node_names == ["one"]
    assert quay.metrics.records.labels("failed")._value.get() == 4
    assert len([entry for entry in caplog.records if "cannot be recorded" in entry.message]) == 1
