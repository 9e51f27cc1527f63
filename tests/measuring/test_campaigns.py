"""Campaigns go on where they stopped, end in time, and lose nothing."""

from collections import Counter
from pathlib import Path

import pytest
from stowplan_predictor.errors import DatasetRefused, RuntimeRefused
from stowplan_predictor.training import campaigns, plans, zoo
from stowplan_predictor.training.assemblies import noise_floor
from stowplan_predictor.training.campaigns import Clock, run_tasks
from stowplan_predictor.training.datasets import AnyRow
from stowplan_predictor.training.plans import Task
from stowplan_predictor.training.results import Results
from stowplan_predictor.training.rows import KernelRow, NetworkRow

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


def test_plan_covers_every_network_once_a_slice() -> None:
    """Each network on one core and on two; keys are unique, so that no result overwrites another."""
    entries = zoo.entries()
    tasks = plans.plan(entries)
    covered = Counter((task.network, task.slice) for task in tasks if task.kind == "network" and task.repeat == 0 and task.slice != "cpu:500m")

    assert covered == {(entry.name, part): 1 for entry in entries for part in ("cpu:1", "cpu:2")}
    assert len({task.key for task in tasks}) == len(tasks)
    assert {task.kind for task in tasks} == {"network", "pair", "load"}
    assert sum(task.repeat for task in tasks) >= 15


def test_breadth_comes_first() -> None:
    """When time is short, every family was seen before any network in a second size."""
    tasks = [task for task in plans.plan(zoo.entries()) if task.kind == "network" and task.repeat == 0]
    family = {entry.name: entry.family for entry in zoo.entries() if entry.split == "zoo"}
    model = {entry.name: entry.model for entry in zoo.entries() if entry.split == "zoo"}
    seen_models, first_repeat = set(), None
    seen_at_repeat: set[str] = set()
    for task in tasks:
        if task.slice != "cpu:1" or task.network not in family:
            continue
        if model[task.network] in seen_models and first_repeat is None:
            first_repeat = task.network
            seen_at_repeat = {family[name] for name in (t.network for t in tasks[: tasks.index(task)]) if name in family}
        seen_models.add(model[task.network])

    assert seen_at_repeat == set(family.values())


def test_pairs_meet_both_alike_and_unlike() -> None:
    """Each network meets itself and several others; no pair comes twice."""
    pairs = plans.pairs_of([str(number) for number in range(12)])

    assert len({frozenset(pair) for pair in pairs}) == len(pairs)
    assert all((str(number), str(number)) in pairs for number in range(12))
    assert 40 <= len(pairs) <= 60


def test_zoo_is_broad() -> None:
    """At least 45 models of at least 20 families, names unique, and light models share family names with the zoo's."""
    entries = zoo.entries()
    real = [entry for entry in entries if entry.split == "zoo"]

    assert len({entry.name for entry in entries}) == len(entries)
    assert len({entry.model for entry in real}) >= 45
    assert len({entry.family for entry in real}) >= 20
    assert sum(entry.split == "light" for entry in entries) == 9
    assert zoo.light_families() - {"zfnet"} <= {entry.family for entry in real}


def test_folds_deal_families_evenly() -> None:
    """Every family has one fold, and folds differ by one family at most."""
    folds = zoo.folds()
    sizes = Counter(folds.values())

    assert set(folds) == {entry.family for entry in zoo.entries()}
    assert max(sizes.values()) - min(sizes.values()) <= 1


def _network(name: str, repeat: int, median_ms: float) -> NetworkRow:
    return NetworkRow(name, "cpu:1", repeat, 1, 30, 3, median_ms, median_ms, 1, 1, 1, 1, 1, 0, tuple([1.0] * 21), 0, 0, 1, False, None, None, "2026")


def test_noise_floor_compares_test_with_retest() -> None:
    """Relative change of the median, over networks that were measured twice."""
    rows = [_network("a", 0, 10.0), _network("a", 1, 11.0), _network("b", 0, 10.0), _network("b", 1, 9.8), _network("c", 0, 5.0)]
    floor = noise_floor(rows, {1})

    assert floor["retests"] == 2
    assert floor["max"] == pytest.approx(0.1)
    assert noise_floor(rows[-1:], {1}) == {"retests": 0}


def test_nothing_exported_is_an_error(tmp_path: Path) -> None:
    """A campaign without networks says what to do and does not succeed."""
    assert campaigns.main(["--work", str(tmp_path), "--datasets", str(tmp_path / "d")]) == campaigns.EXIT_REFUSED
