"""`stowplan replay`: what an extender recorded, decided anew at a desk."""

import asyncio
import json
from pathlib import Path

import pytest
from stowplan_extender.recorders import CURRENT
from stowplan_extender.settings import RecordingSettings
from support.command_lines import Run
from support.quays import Quay


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A file with a filter and a binding."""
    quay = Quay(None, 0, RecordingSettings(str(tmp_path)), ant=10.0)
    quay.service("ant")
    quay.node("one")
    quay.pod("p", "ant")

    async def decide() -> None:
        await quay.verbs.filter(quay.args("p", "one"))
        await quay.bind("p", "one")

    asyncio.run(decide())
    return tmp_path / CURRENT


def test_the_same_answer_comes_out_at_a_desk(run: Run, recorded: Path) -> None:
    """Status 0 and a row for each decision, with its bundle, on a machine that has neither cluster nor predictor."""
    outcome = run("replay", recorded, "-o", "json")
    assert outcome.status == 0, outcome.stderr
    assert (outcome.json["decisions"], outcome.json["different"]) == (2, 0)
    assert [(row["verb"], row["pod"], row["returned"], row["bundles"]) for row in outcome.json["rows"]] == [
        (verb, "vision/p", ["one"], ["toy@1"]) for verb in ("filter", "bind")
    ]
    assert "2 decisions, 0 come out otherwise" in run("replay", recorded).stdout


def test_a_different_answer_is_shown_with_status_four(run: Run, recorded: Path) -> None:
    """An outcome that the inputs do not give is named with its node."""
    lines = recorded.read_text().splitlines()
    altered = json.loads(lines[0])
    altered["verdicts"][0] = {"kind": "refused", "text": "because", "reason": "NoRoom"}
    recorded.write_text("\n".join([json.dumps(altered), lines[1]]))
    outcome = run("replay", recorded)
    assert outcome.status == 4
    assert "node one: refused: because, and now accepted" in outcome.stdout


@pytest.mark.parametrize(("text", "said"), [("", "no decision is recorded there"), ("{}\n", "line 1: not a recorded decision")])
def test_what_is_no_recording_is_refused(run: Run, tmp_path: Path, text: str, said: str) -> None:
    """An empty file and other JSON: status 1, with the line."""
    (tmp_path / "file").write_text(text)
    outcome = run("replay", tmp_path / "file")
    assert outcome.status == 1
    assert said in outcome.stderr
