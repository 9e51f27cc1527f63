"""What others took during a measurement is counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_predictor.measuring.noises import CpuTimes, cpu_times, noise_between, parse_proc_stat

_STAT = """cpu  100 20 30 1000 5 6 7 8 0 0
cpu0 50 10 15 500 2 3 3 4 0 0
cpu1 50 10 15 500 3 3 4 4 0 0
intr 12345
"""


def test_proc_stat_is_read_by_column() -> None:
    """Idle and waiting for disks are not busy; steal stands apart; cores are counted by their lines."""
    busy_s, steal_s, cores = parse_proc_stat(_STAT)

    assert [busy_s * 100, steal_s * 100] == pytest.approx([163, 8])
    assert cores == 2


def test_own_time_is_not_foreign() -> None:
    """One second, two cores: 1.1 s busy, of which 1.0 s were ours, leave five percent of the machine to others."""
    noise = noise_between(CpuTimes(10.0, 5.0, 1.0, 2), CpuTimes(11.0, 6.1, 1.02, 2), own_s=1.0)

    assert noise.foreign_share == pytest.approx(0.05)
    assert noise.steal_share == pytest.approx(0.01)
    assert not noise.acceptable


@given(st.floats(0, 1e3), st.floats(0, 1e3), st.floats(0, 1e3))
def test_shares_are_never_negative(busy_s: float, own_s: float, steal_s: float) -> None:
    """Clocks that disagree by a tick make zero, not a negative share."""
    noise = noise_between(CpuTimes(0.0, 0.0, 0.0, 2), CpuTimes(1.0, busy_s, steal_s, 2), own_s)

    assert noise.foreign_share >= 0
    assert noise.steal_share >= 0


def test_the_machines_own_clocks_run_forward() -> None:
    """Reading twice never goes back."""
    first, second = cpu_times(), cpu_times()

    assert second.busy_s >= first.busy_s
    assert second.wall_s >= first.wall_s
    assert first.cores >= 1
