"""A decision of a live cluster, recorded there, comes out the same at a desk: from its record alone, and from the bundle and the model anew."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from stowplan_extender.recording.recorders import CURRENT
from support.controlplane import node
from support.stages import MODELS, Stage, inference_service
from support.troubles import QUICK, QUICK_CORE

pytestmark = pytest.mark.controlplane


def test_a_recorded_decision_gives_the_same_answer_offline(stage: Stage, tmp_path: Path) -> None:
    """`stowplan replay --ask` finds nothing different in what a real scheduler asked a real extender, and judges its answers anew to the last digit."""
    stage.add_nodes(node("only", "4", QUICK))
    stage.upload("squeezenet")
    with stage.extender.differently(RECORDING_DIRECTORY=str(tmp_path)):
        stage.apply(inference_service("patient", "squeezenet", 60_000, slice_classes=[QUICK_CORE]))
        (pod,) = stage.await_bound("patient")
        program = Path(sys.executable).parent / "stowplan"
        command = [str(program), "replay", str(tmp_path / CURRENT), "--ask", "--models", str(MODELS), "-o", "json"]
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, env=os.environ)
        assert run.returncode == 0, run.stdout + run.stderr
        rows = json.loads(run.stdout)["rows"]
    (bound,) = (row for row in rows if row["verb"] == "bind")
    assert bound["pod"] == f"{stage.namespace}/{pod['metadata']['name']}"
    assert bound["bundles"] == [pod["metadata"]["annotations"]["stowplan.dev/bundle"]]
    assert bound["asked"]["judgedAnew"] >= 1
    assert {row["verb"] for row in rows} == {"filter", "bind"}
