"""spec.placement.minimumBasis at a desk: the same words and the same outcome as in a cluster, in every command that predicts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stowplan_fleet.slices import DeviceName
from support.cluster_objects import QUICK, Object, described, graph, listed, node, on_one_core, pod, service
from support.command_lines import Desk, Outcome, Run

# Nobody measured what was made up, so that every prediction there is extrapolated.
RARE = replace(QUICK, name=DeviceName("rare"), fabricated=True)
WHY = "cannot be judged (BasisTooWeak): the prediction is extrapolated, and spec.placement.minimumBasis is measured"


def wanting(name: str, minimum: str, on_unknown: str = "Reject") -> Object:
    """A service on one core of the rare device."""
    return service(name, 60, placement=on_one_core("rare")["placement"] | {"minimumBasis": minimum, "onUnknown": on_unknown})


@pytest.fixture
def asked(tmp_path: Path, desk: Desk, run: Run) -> Any:
    """Runs a command about further services in a cluster of one node with residents on it."""

    def ask(command: str, services: list[Object], residents: list[Object]) -> Outcome:
        standing = [pod(f"{item['metadata']['name']}-0", "one", service=item["metadata"]["name"], slice_class="rare/cpu:1") for item in residents]
        cluster, wanted = tmp_path / "cluster.yaml", tmp_path / "services.yaml"
        cluster.write_text(listed([described(devices=[RARE]), graph(), node("one", "rare"), *residents, *standing]))
        wanted.write_text(listed(services))
        files = ("-f", wanted) if services else ()
        return run(command, *files, "--cluster", cluster, "--bundle", desk.bundle, "-o", "json")

    return ask


def test_a_place_on_too_weak_a_basis_is_none(asked: Any) -> None:
    """`place` names the reason, with status 3; who takes extrapolated predictions, or says nothing, gets the place and its number."""
    refused = asked("place", [wanting("a", "measured")], [])
    taken = asked("place", [wanting("a", "extrapolated"), service("b", 60, **on_one_core("rare"))], [])

    assert (refused.status, refused.json["placements"]) == (3, [])
    assert refused.json["unplaced"] == [{"service": "vision/a", "replica": 0, "reasons": {"one": WHY}}]
    assert taken.status == 0
    assert [(item["basis"], item["predictedMilliseconds"] > 0) for item in taken.json["placements"]] == [("extrapolated", True)] * 2


def test_who_allows_unknown_gets_a_place_without_a_number(asked: Any) -> None:
    """Basis unknown, and why, in the place of the prediction."""
    (placement,) = asked("place", [wanting("a", "measured", "Allow")], []).json["placements"]

    assert (placement["basis"], placement["predictedMilliseconds"], placement["because"]) == ("unknown", None, WHY)


def test_a_resident_that_wants_more_keeps_its_node_to_itself(asked: Any) -> None:
    """`place` puts nobody beside it, whatever the newcomer takes."""
    outcome = asked("place", [service("a", 60, **on_one_core("rare"))], [wanting("exacting", "measured")])

    assert outcome.json["unplaced"][0]["reasons"] == {"one": f"resident vision/exacting beside it {WHY}"}


def test_nodes_hold_no_such_number_against_an_objective(asked: Any) -> None:
    """`nodes` shows a server whose prediction is too weak as unknown, with the reason, and an audit judges it by nothing."""
    (shown,) = asked("nodes", [], [wanting("exacting", "measured")]).json["nodes"][0]["tenants"]

    assert (shown["headroomMilliseconds"], shown["basis"], shown["unknown"]) == (None, "extrapolated", WHY)


def test_what_no_resource_definition_allows_is_refused_by_its_path(asked: Any) -> None:
    """The same words as the API server takes, and no others."""
    outcome = asked("place", [wanting("a", "guessed")], [])

    assert outcome.status == 1
    assert "spec.placement.minimumBasis: 'guessed' is none of measured, extrapolated, unvalidated" in outcome.stderr
