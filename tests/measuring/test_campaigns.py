"""Campaigns go on where they stopped, end in time, and lose nothing."""

import re
from collections import Counter
from pathlib import Path

import pytest
from stowplan_predictor.errors import DatasetRefused, RuntimeRefused
from stowplan_predictor.training.campaigns import __main__ as campaigns
from stowplan_predictor.training.campaigns import assemblies, durations, generated_runs, isolated_lists, isolated_plans, isolated_runs, plans
from stowplan_predictor.training.campaigns.__main__ import run_tasks
from stowplan_predictor.training.campaigns.durations import Clock
from stowplan_predictor.training.campaigns.plans import Task
from stowplan_predictor.training.campaigns.results import Results
from stowplan_predictor.training.data.datasets import AnyRow
from stowplan_predictor.training.data.generated_rows import OptimizedRow
from stowplan_predictor.training.data.rows import KernelRow
from stowplan_predictor.training.zoo import entries as zoo

_TASKS = [Task("network", name, "cpu:1") for name in ("a", "b", "c")]


def _kernel(task: Task) -> dict[str, list[AnyRow]]:
    return {"kernels": [KernelRow(task.network, task.slice, 0, "n", "Conv", "", ("o",), "CPU", 1.0, 1.0, 1.0, 20)]}


class _Bench:
    """A runner that counts, on a clock that moves ten seconds a task."""

    def __init__(self) -> None:
        self.time, self.ran = 0.0, Counter[str]()

    def now(self) -> float:
        return self.time

    def run(self, task: Task) -> dict[str, list[AnyRow]]:
        self.ran[task.network] += 1
        self.time += 10.0
        if task.network == "b":
            raise RuntimeRefused("cannot run it")
        return _kernel(task)


def _run(bench: _Bench, results: Results, seconds: float) -> int:
    return len(_left(bench, results, seconds))


def _left(bench: _Bench, results: Results, seconds: float) -> list[Task]:
    return run_tasks(_TASKS, results, bench.run, Clock(bench.now() + seconds), advance=lambda _: None, now=bench.now)


def test_a_campaign_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """What was measured is not measured again, also by a new process."""
    bench = _Bench()

    assert _run(bench, Results(tmp_path), 6.0) == 2
    assert _run(bench, Results(tmp_path), 1000.0) == 0
    assert bench.ran == {"a": 1, "b": 1, "c": 1}


def test_no_task_begins_that_would_end_late(tmp_path: Path) -> None:
    """Tasks learn how long their kind takes; one that does not fit is left for the next run."""
    bench = _Bench()

    assert _run(bench, Results(tmp_path), 4.0) == 3
    assert not bench.ran


def test_what_cannot_be_measured_is_left_out_with_its_reason(tmp_path: Path) -> None:
    """A refused network neither ends the campaign nor disappears."""
    _run(_Bench(), Results(tmp_path), 1000.0)
    rows, left_out = Results(tmp_path).collect()

    assert left_out == {"network__b__cpu-1__0": "RuntimeRefused: cannot run it"}
    assert [row.network for row in rows["kernels"]] == ["a", "c"]


def test_an_interrupted_write_is_no_result(tmp_path: Path) -> None:
    """A temporary file that a crash left behind is not read, and its task is still open."""
    results = Results(tmp_path)
    (tmp_path / f"{_TASKS[0].key}.tmp").write_text('{"rows": {"kern')

    assert not results.is_done(_TASKS[0])
    assert results.collect()[0]["kernels"] == []


def test_a_malformed_result_is_named(tmp_path: Path) -> None:
    """Nothing is guessed from a file of another version."""
    (tmp_path / "network__x.json").write_text('{"rows": {"kernels": [{"network": "x"}]}}')

    with pytest.raises(DatasetRefused, match=r"network__x\.json"):
        Results(tmp_path).collect()


_RANDOMS = [Task("randoms", f"fnn-{seed:05d}", part, seed=seed) for seed in range(0, 400, 40) for part in ("cpu:1", "cpu:2")]


def test_plan_covers_every_network_once_a_visit() -> None:
    """Each network on one core and on two, at every visit; chunks of random networks once; keys are unique, so that no result overwrites another."""
    entries = zoo.entries()
    tasks = plans.plan(entries, _RANDOMS)
    covered = Counter((task.network, task.repeat) for task in tasks if task.kind == "visit")

    assert covered == {(entry.name, repeat): 1 for entry in entries for repeat in plans.VISITS}
    assert {task.slice for task in tasks if task.kind == "visit"} == {"cpu:1+cpu:2"}
    assert sorted(task.key for task in tasks if task.kind == "randoms") == sorted(task.key for task in _RANDOMS)
    assert len({task.key for task in tasks}) == len(tasks)
    assert {task.kind for task in tasks} == {"visit", "network", "randoms", "pair", "load"}


def test_everything_is_measured_in_six_hours(tmp_path: Path) -> None:
    """The whole plan for a fresh machine, every network and chunk of it, at what tasks took when they were measured; and it says so before it begins."""
    listed = sum(map(len, isolated_lists.drawn()))
    for number, kernels in enumerate((isolated_plans.TOTAL, listed)):
        isolated_plans.write_plan(tmp_path, isolated_plans.IsolatedPlan(number, "test", {}, {}, ("{}",) * kernels))
    tasks = plans.plan(zoo.entries(), generated_runs.tasks(), isolated_runs.tasks(tmp_path))

    assert 2 < durations.expected_hours(tasks) < 5
    assert durations.outlook(tasks).startswith(f"{len(tasks)} tasks are left: about {durations.expected_hours(tasks):.1f} hours")
    assert durations.outlook([]) == "nothing is left to measure"


def test_a_chunk_lasts_at_most_ninety_minutes() -> None:
    """What `make dataset` runs at once."""
    makefile = (Path(__file__).resolve().parents[2] / "Makefile").read_text()

    assert [float(minutes) <= 90 for minutes in re.findall(r"campaigns --minutes (\S+)", makefile)] == [True]


def test_second_visits_come_minutes_after_first_ones() -> None:
    """A retest next to its test would meet the same moment of the machine: at least a hundred tasks lie between."""
    tasks = [task for task in plans.plan(zoo.entries(), _RANDOMS) if task.kind == "visit"]
    at = {(task.network, task.repeat): position for position, task in enumerate(tasks)}
    first, second, *_ = plans.VISITS

    assert min(at[network, second] - at[network, first] for network, repeat in at if repeat == first) >= 20
    assert sum(at[entry.name, second] - at[entry.name, first] >= 100 for entry in zoo.entries()) >= 400


def test_breadth_comes_first() -> None:
    """When time is short, every family was seen before any second model of one, and those that judge before all."""
    tasks = [task for task in plans.plan(zoo.entries(), _RANDOMS) if task.kind == "visit" and task.repeat == plans.VISITS[0]]
    entry = {entry.name: entry for entry in zoo.entries()}
    families = {one.family for one in entry.values() if one.split == "zoo"}
    order = [entry[task.network] for task in tasks]

    assert {one.split for one in order[:9]} == {"light"}
    assert {one.family for one in order[9 : 9 + len(families)]} == families


def test_woven_lists_are_equally_far_at_any_time() -> None:
    """Half of the tasks are half of each kind; none is lost, and each list keeps its order."""
    lists = [[Task(kind, str(number), "cpu:1") for number in range(count)] for kind, count in (("a", 40), ("b", 10), ("c", 20))]
    tasks = plans.woven(*lists)
    half = Counter(task.kind for task in tasks[:35])

    assert half == {"a": 20, "b": 5, "c": 10}
    assert {task.kind for task in plans.woven(lists[0], lists[1], hurried=lists[2])[-15:]} == {"a", "b"}
    assert [[task for task in tasks if task.kind == kind] for kind in "abc"] == lists


def test_shares_of_an_export_cover_everything_once() -> None:
    """Processes that share the work leave nothing out and do nothing twice."""
    entries = plans.ordered(zoo.entries())

    assert sorted(entry.name for entry in entries) == sorted(entry.name for entry in zoo.entries())
    assert [entry.split for entry in entries][:9] == ["light"] * 9


def test_pairs_meet_both_alike_and_unlike() -> None:
    """Each network meets itself and several others; no pair comes twice."""
    pairs = plans.pairs_of([str(number) for number in range(12)])

    assert len({frozenset(pair) for pair in pairs}) == len(pairs)
    assert all((str(number), str(number)) in pairs for number in range(12))
    assert 40 <= len(pairs) <= 60


def test_zoo_is_broad() -> None:
    """At least 150 models of at least 25 families, names unique, and light models share family names with the zoo's."""
    entries = zoo.entries()
    real = [entry for entry in entries if entry.split == "zoo"]

    assert len({entry.name for entry in entries}) == len(entries)
    assert len({(entry.library, entry.model) for entry in real}) >= 150
    assert len({entry.family for entry in real}) >= 25
    assert sum(entry.split == "light" for entry in entries) == 9
    assert zoo.light_families() - {"zfnet"} <= {entry.family for entry in real}


def test_folds_deal_families_evenly() -> None:
    """Every family has one fold, and folds differ by one family at most, among published networks and among random ones."""
    folds = zoo.folds()
    published = {entry.family for entry in zoo.entries() if entry.split != "random"}

    assert set(folds) == {entry.family for entry in zoo.entries()}
    for families in (published, set(folds) - published):
        sizes = Counter(folds[family] for family in families)
        assert max(sizes.values()) - min(sizes.values()) <= 1


def test_bytes_survive_a_result(tmp_path: Path) -> None:
    """Optimised graphs are bytes, which JSON has no word for."""
    results = Results(tmp_path)
    results.keep(_TASKS[0], {"optimized": [OptimizedRow("fnn-00001", b"\x00\xffonnx")]})

    assert results.collect()[0]["optimized"] == [OptimizedRow("fnn-00001", b"\x00\xffonnx")]


def test_what_cannot_be_exported_is_not_tried_again(tmp_path: Path) -> None:
    """Its reason is kept until somebody deletes it."""
    assemblies.keep_left_out(tmp_path, "net-b1-s8", "no such operator")

    assert assemblies.left_out(tmp_path) == {"net-b1-s8": "no such operator"}
    assert assemblies.exported(tmp_path) == {}


def test_nothing_exported_is_an_error(tmp_path: Path) -> None:
    """A campaign without networks says what to do and does not succeed."""
    assert campaigns.main(["--work", str(tmp_path), "--datasets", str(tmp_path / "d")]) == campaigns.EXIT_REFUSED
