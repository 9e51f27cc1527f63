"""Ready is the truth about the load while a service moves from one rung to another."""

from collections.abc import Mapping

import pytest
from stowplan_fleet import keys, slices
from stowplan_fleet.manifests.decoding import from_plain
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_operator.reconciling import placements, statuses
from stowplan_operator.workloads.rollouts import Rollout

SMALL, LARGE = "quick/cpu:1", "quick/cpu:4"
LADDER = [{"sliceClass": LARGE, "replicas": 1, "meetsSLO": True}, {"sliceClass": SMALL, "replicas": 4, "meetsSLO": True}]


def ready(slice_class: str, count: int) -> list[PodManifest]:
    """Pods of a rung that serve."""
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    metadata = {"annotations": {keys.SLICE_CLASS_ANNOTATION: slice_class}}
    return [
        from_plain({"metadata": metadata | {"uid": f"{slice_class}-{index}"}, "spec": {"nodeName": "n"}, "status": status}, PodManifest)
        for index in range(count)
    ]


def told(small: int, large: int, *, present: str, replicas: int, ladder: object = LADDER, rollout: Rollout | None = None) -> tuple[str, str]:
    """Status and message of Ready."""
    rung = slices.parse_slice_class(present)
    placement = placements.placement_of([*ready(SMALL, small), *ready(LARGE, large)], rung, {})
    verdict = placements.served(placement, replicas, rollout, statuses.needs(ladder, rung, replicas))
    return str(verdict.holds), verdict.message


@pytest.mark.parametrize(("small", "large", "holds"), [(0, 1, "True"), (1, 1, "False"), (2, 1, "False"), (3, 1, "True"), (4, 0, "True"), (3, 0, "False")])
def test_many_small_servers_take_over_from_a_large_one(small: int, large: int, holds: str) -> None:
    """The large one alone serves the objective, though four are wanted now. Beside it a small one gets an even part of the load: more than it can take, until
    there are three.
    """
    assert told(small, large, present=SMALL, replicas=4)[0] == holds


@pytest.mark.parametrize(("small", "large", "holds"), [(4, 0, "True"), (4, 1, "True"), (3, 1, "True"), (2, 1, "False"), (0, 1, "True"), (0, 0, "False")])
def test_a_large_server_takes_over_from_many_small_ones(small: int, large: int, holds: str) -> None:
    """Small ones that are left suffice only while enough serve beside them."""
    assert told(small, large, present=LARGE, replicas=1)[0] == holds


def test_the_message_says_who_serves() -> None:
    """Fewer than the new rung's replicas, and enough: said so, with how many are of the former template."""
    assert told(0, 1, present=SMALL, replicas=4, rollout=Rollout(new=0, former=1)) == (
        "True",
        "1 replicas serve, as many as their slice class takes for the load, 1 of them by the former template",
    )
    assert told(1, 1, present=SMALL, replicas=4, rollout=Rollout(new=1, former=1)) == ("False", "2 of 4 replicas serve, 1 of them by the former template")


WRITTEN: list[tuple[object, Mapping[str, int]]] = [
    (None, {SMALL: 4}),
    ("somebody's", {SMALL: 4}),
    ([{"sliceClass": LARGE, "replicas": "1", "meetsSLO": True}, 7], {SMALL: 4}),
    ([{"sliceClass": LARGE, "replicas": 1, "meetsSLO": False}], {SMALL: 4}),
    ([{"sliceClass": SMALL, "replicas": 9, "meetsSLO": True}], {SMALL: 4}),
]


@pytest.mark.parametrize(("written", "needs"), WRITTEN)
def test_a_ladder_that_says_nothing_usable_counts_replicas_of_the_present_rung(written: object, needs: Mapping[str, int]) -> None:
    """No ladder, somebody else's, a class that misses the objective: as many are needed as the present rung has."""
    assert statuses.needs(written, slices.parse_slice_class(SMALL), 4) == needs
    assert told(0, 1, present=SMALL, replicas=4, ladder=written)[0] == "False"
