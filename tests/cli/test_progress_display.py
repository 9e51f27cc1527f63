"""Progress goes to a terminal only."""

import io

import pytest
from stowplan_cli.terminal import progresses


def test_nothing_is_shown_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Logs and pipes stay clean."""
    with progresses.waiting("measuring", 20.0):
        pass

    assert capsys.readouterr() == ("", "")


def test_what_must_be_said_is_a_line_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """That somebody else holds the machine is said even in a log."""
    with progresses.waiting("measuring", 20.0) as say:
        say("waiting for process 7")

    assert capsys.readouterr().err == "waiting for process 7\n"


def test_a_short_step_shows_no_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar that flashes for a moment only irritates."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with progresses.waiting("measuring", 20.0):
        pass

    assert "measuring" not in terminal.getvalue()
