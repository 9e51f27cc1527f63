"""Only one measurement runs on a machine."""

import multiprocessing
from pathlib import Path

import pytest
from stowplan_predictor.errors import MachineBusy
from stowplan_predictor.measuring.locks import machine_lock


def test_second_holder_is_refused_with_the_first_ones_name(tmp_path: Path) -> None:
    """Who waits in vain learns which process holds the machine."""
    path = tmp_path / "lock"
    with machine_lock(0, path=path), pytest.raises(MachineBusy, match=r"held by process \d+"), machine_lock(0, path=path):
        pytest.fail("two holders")


def test_lock_is_free_after_use(tmp_path: Path) -> None:
    """The machine can be taken again once it was given back, also after an error."""
    path = tmp_path / "lock"
    with pytest.raises(RuntimeError, match="broken"), machine_lock(0, path=path):
        raise RuntimeError("broken")
    with machine_lock(0, path=path):
        assert path.read_text().startswith("process")


def _hold_and_die(path: Path, held: object) -> None:
    with machine_lock(0, path=path):
        held.set()  # type: ignore[attr-defined]
        raise SystemExit(1)


def test_lock_of_a_dead_process_is_free(tmp_path: Path) -> None:
    """A measurement that crashed does not block the machine."""
    path, held = tmp_path / "lock", multiprocessing.get_context("fork").Event()
    process = multiprocessing.get_context("fork").Process(target=_hold_and_die, args=(path, held))
    process.start()
    process.join(10)

    assert held.is_set()
    with machine_lock(0, path=path):
        pass


def test_waiting_is_told_once(tmp_path: Path) -> None:
    """Who waits is told so, once, in words."""
    path, told = tmp_path / "lock", list[str]()
    with machine_lock(0, path=path), pytest.raises(MachineBusy), machine_lock(0.2, told.append, path=path):
        pytest.fail("two holders")
    assert len(told) == 1
    assert "measures on this machine" in told[0]
