"""How much others disturbed a measurement: CPU time that was not ours, and time that the hypervisor took.

Busy time comes from the root cgroup's accounting where it can be read (nanoseconds), else from /proc/stat, whose ticks are 10 ms: a window of half a second
or more is needed for two percent to mean anything there. What runs on other guests of the same host shows only as steal, and as caches and memory bandwidth
that are less ours than they seem: this cannot see it.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# A sample set above this share of foreign load or steal is taken again: two percent of all cores' time.
LIMIT: Final = 0.02
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_CGROUP_V1: Final = Path("/sys/fs/cgroup/cpuacct/cpuacct.usage")
_CGROUP_V2: Final = Path("/sys/fs/cgroup/cpu.stat")
_PROC_STAT: Final = Path("/proc/stat")


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """The machine's clocks at one moment, in seconds since some start."""

    wall_s: float
    busy_s: float
    """Over all cores."""
    steal_s: float
    cores: int


@dataclass(frozen=True, slots=True)
class Noise:
    """What others took during a window, as shares of the window's time over all cores."""

    foreign_share: float
    steal_share: float

    @property
    def acceptable(self) -> bool:
        """True where both stayed within the limit."""
        return self.foreign_share <= LIMIT and self.steal_share <= LIMIT


def parse_proc_stat(text: str) -> tuple[float, float, int]:
    """Busy seconds, stolen seconds and cores from /proc/stat (proc(5): user nice system idle iowait irq softirq steal guest guest_nice)."""
    lines = text.splitlines()
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in lines[0].split()[1:9])
    cores = sum(1 for line in lines if line.startswith("cpu") and line[3:4].isdigit())
    return (user + nice + system + irq + softirq) / _TICKS_PER_SECOND, steal / _TICKS_PER_SECOND, cores


def _accounted_busy_s() -> float | None:
    try:
        return int(_CGROUP_V1.read_text(encoding="ascii")) / 1e9
    except OSError:
        pass
    try:
        fields = dict(line.split() for line in _CGROUP_V2.read_text(encoding="ascii").splitlines())
        return int(fields["usage_usec"]) / 1e6
    except (OSError, KeyError, ValueError):
        return None


def cpu_times() -> CpuTimes:
    """The machine's clocks now."""
    ticks_busy_s, steal_s, cores = parse_proc_stat(_PROC_STAT.read_text(encoding="ascii"))
    busy_s = _accounted_busy_s()
    return CpuTimes(time.monotonic(), ticks_busy_s if busy_s is None else busy_s, steal_s, cores)


def noise_between(before: CpuTimes, after: CpuTimes, own_s: float) -> Noise:
    """Noise of a window in which the measured processes themselves used `own_s` seconds of CPU time."""
    capacity_s = max(after.wall_s - before.wall_s, 1e-9) * after.cores
    foreign_s = max(0.0, after.busy_s - before.busy_s - own_s)
    return Noise(foreign_s / capacity_s, max(0.0, after.steal_s - before.steal_s) / capacity_s)
