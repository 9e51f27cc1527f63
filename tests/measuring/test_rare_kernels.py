"""Listed kernels: what published networks hold rarely is measured too, one kernel a graph, by graphs that the runtime runs."""

from itertools import chain
from pathlib import Path

import pytest
from stowplan_predictor.fusion import rules
from stowplan_predictor.graphs import loading
from stowplan_predictor.training.campaigns import isolated_lists, isolated_plans, isolated_runs
from stowplan_predictor.training.generated import single_kernels


def _fields(op_type: str, name: str) -> set[object]:
    nodes = [node for spec in chain(*isolated_lists.drawn()) for node in spec.nodes if node.op_type == op_type]
    return {str(node.attributes.get(name)) for node in nodes}


def test_the_list_varies_what_cuts_leave_alone() -> None:
    """Every way to resize, many dilations, axes other than the last, and both ways to say how large a result shall be; no graph twice."""
    kernels = list(chain(*isolated_lists.drawn()))

    assert _fields("Resize", "mode") == {"nearest", "linear", "cubic"}
    assert len(_fields("Conv", "dilations")) >= 6
    assert _fields("Softmax", "axis") == {"1", "2"}
    assert {tuple(spec.constants) for spec in kernels if spec.nodes[0].op_type == "Resize"} == {("c2",), ("c3",)}
    assert len({single_kernels.to_json(spec) for spec in kernels}) == len(kernels) >= 450


def test_listed_kernels_stand_alone() -> None:
    """A tenth of them: our fusion makes one kernel of each, of the type that the specification says, and the runtime runs it; few are too large."""
    some = [own[number] for own in isolated_lists.drawn() for number in range(0, len(own), 10)]
    found = [spec for spec in map(isolated_lists.typed, some) if spec is not None]

    assert len(found) >= 0.9 * len(some)
    for spec in found:
        kernels = rules.fuse(loading.load_graph(single_kernels.structure(single_kernels.to_json(spec))))
        assert [str(kernel.type) for kernel in kernels] == [spec.kernel]


def test_listed_kernels_belong_to_no_family() -> None:
    """They were cut out of no network, so that no fold holds them out."""
    families = {spec.family for own in isolated_lists.drawn() for spec in own}

    assert families == {""}


def test_a_campaign_plans_the_list_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh machine's second round is the list, in tasks on one core and on two; a plan that is there stays as it is."""
    few = tuple(own[:2] for own in isolated_lists.drawn())
    monkeypatch.setattr(isolated_lists, "drawn", lambda: few)
    paths = isolated_plans.write_first(tmp_path, [])
    plan = isolated_plans.read_plans(tmp_path)[1]

    assert (plan.round, plan.source, len(plan.specs), sum(plan.counts.values())) == (1, isolated_lists.SOURCE, 10, 10)
    assert {single_kernels.from_json(text).kernel for text in plan.specs} == set(plan.counts)
    assert [(task.network, task.slice) for task in isolated_runs.tasks(tmp_path)] == [("iso-1-00000", "cpu:1"), ("iso-1-00000", "cpu:2")]
    written = [path.stat().st_mtime_ns for path in paths]
    isolated_plans.write_first(tmp_path, [])
    assert [path.stat().st_mtime_ns for path in paths] == written
