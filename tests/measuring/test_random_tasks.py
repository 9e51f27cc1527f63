"""What a campaign measures of generated graphs: everything once, a part again, no result's name twice."""

import json
from pathlib import Path

import pytest
from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.training.campaigns import generated_runs as random_runs
from stowplan_predictor.training.campaigns import isolated_plans, isolated_runs
from stowplan_predictor.training.campaigns.isolated_plans import IsolatedPlan
from stowplan_predictor.training.data.generated_rows import IsolatedRow
from stowplan_predictor.training.generated import kinds as random_kinds


def test_every_random_network_is_in_one_chunk() -> None:
    """Over three thousand fully connected and fifteen hundred convolutional ones on one core, a part on two, kinds in turns from the start."""
    tasks = random_runs.tasks()
    first = [task for task in tasks if task.slice == "cpu:1" and not task.repeat]
    seeds = {
        kind: [seed for task in first if task.network.startswith(kind) for seed in range(task.seed, task.seed + random_runs.CHUNK)]
        for kind in random_kinds.KINDS
    }

    assert len({task.key for task in tasks}) == len(tasks)
    assert {kind: len(set(found)) for kind, found in seeds.items()} == random_runs.COUNTS
    assert all(len(set(found)) == len(found) for found in seeds.values())
    assert random_runs.COUNTS["fnn"] >= 3000
    assert random_runs.COUNTS["cnn"] >= 1500
    assert any(task.slice == "cpu:2" for task in tasks[:6])
    assert {task.network.partition("-")[0] for task in tasks[:6]} == set(random_kinds.KINDS)


@pytest.mark.parametrize(("kind", "least"), [("fnn", 280), ("cnn", 480)])
def test_profiles_cover_every_configuration(kind: str, least: int) -> None:
    """Each configuration has its part of the networks that are looked at kernel by kernel."""
    profiled = [seed for seed in range(random_runs.COUNTS[kind]) if random_runs.is_profiled(kind, seed)]
    counts = {name: sum(random_kinds.configuration(kind, seed) == name for seed in profiled) for name in random_kinds.configurations(kind)}

    assert len(profiled) >= least
    assert max(counts.values()) - min(counts.values()) <= 1


def test_isolated_tasks_follow_the_plans(tmp_path: Path) -> None:
    """Chunks of every planned round, every other one on two cores; nothing where nothing is planned; a damaged plan is named."""
    assert isolated_runs.tasks(tmp_path) == ()
    for number in (0, 1):
        isolated_plans.write_plan(tmp_path, IsolatedPlan(number, "test", {"Conv": 1.0}, {"Conv": 130}, ("{}",) * 130))
    tasks = isolated_runs.tasks(tmp_path)

    assert len({task.key for task in tasks}) == len(tasks) == 2 * (3 + 2)
    assert isolated_plans.provenance(tmp_path)[1]["round"] == 1
    isolated_plans.plan_path(tmp_path, 1).write_text(json.dumps({"round": 1}), encoding="utf-8")
    with pytest.raises(DatasetRefused, match="write it again"):
        isolated_runs.tasks(tmp_path)


def test_reorders_are_no_part_of_a_kernel() -> None:
    """A blocked convolution on its own needs reorders around it; inside a network its neighbours use its layout."""
    fields = {"threads": 1, "runs": 9, "median_us": 20.0, "p5_us": 19.0, "p25_us": 19.5, "cv": 0.0, "noisy": False, "measured_at": "", "repeat": 0}
    around = {"foreign_share": 0.0, "steal_share": 0.0, "product_slowdown": 1.0, "copy_slowdown": 1.0}
    names = {"network": "iso-0-00000", "family": "f", "kernel": "Conv", "spec": "{}", "digest": "", "slice": "cpu:1"}
    row = IsolatedRow(**names, **fields, **around, op_types=("ReorderInput", "Conv", "ReorderOutput"), kernels_us=(2.0, 10.0, 3.0))  # type: ignore[arg-type]

    assert row.profiled_us == 15.0
    assert row.kernel_us == 10.0
    with pytest.raises(DatasetRefused, match="3 types but 1 times"):
        IsolatedRow(**names, **fields, **around, op_types=("ReorderInput", "Conv", "ReorderOutput"), kernels_us=(2.0,))  # type: ignore[arg-type]
