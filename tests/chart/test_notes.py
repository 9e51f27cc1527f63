"""What helm says after an installation: the next commands, and a warning for each value that somebody may be sorry about."""

import os
import subprocess

import pytest
from controlplane_binaries import Binaries
from support.components import CHART

pytestmark = pytest.mark.controlplane


def notes(binaries: Binaries, *values: str) -> str:
    """The notes, as an installation without a cluster prints them."""
    arguments = ["install", "prod", str(CHART), "-n", "placing", "--dry-run=client", *(argument for value in values for argument in ("--set", value))]
    run = subprocess.run([str(binaries.path("helm")), *arguments], capture_output=True, text=True, check=True, env=os.environ | {"KUBECONFIG": os.devnull})
    return run.stdout.partition("\nNOTES:\n")[2]


def test_notes_name_the_next_commands_and_warn_of_nothing(controlplane_binaries: Binaries) -> None:
    """Of this release in this namespace, in the order in which they are typed."""
    said = notes(controlplane_binaries)
    commands = ["helm test prod -n placing", "stowplan device -o json", "kubectl -n placing create configmap devices", "kubectl label node", "kubectl apply -f"]
    places = [said.find(command) for command in commands]
    assert -1 not in places
    assert places == sorted(places)
    assert "WARNING" not in said
    assert "localhost/stowplan-operator:" in said


@pytest.mark.parametrize("value", ["scheduler.replicas=1", "tls.enabled=false", "networkPolicy.enabled=false", "rbac.create=false"])
def test_notes_warn_of_what_somebody_may_be_sorry_about(controlplane_binaries: Binaries, value: str) -> None:
    """By the value's own name, and once."""
    said = notes(controlplane_binaries, value)
    assert said.count("WARNING") == 1
    assert f"WARNING: {value.partition('=')[0]} is {value.partition('=')[2]}" in said


def test_notes_of_a_registry_of_ones_own_ask_for_no_images(controlplane_binaries: Binaries) -> None:
    """Who names a registry has them."""
    assert "not published" not in notes(controlplane_binaries, "images.operator.repository=registry.example.com/operator")
