"""Fractional slices are real CPU quotas."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from stowplan_predictor.errors import CgroupUnavailable
from stowplan_predictor.measuring import quotas

_BURN = "import time; began = time.monotonic()\nwhile time.monotonic() - began < 0.6: pass\nprint(time.process_time())"


def _fake_v1(root: Path) -> Path:
    (root / "cpu").mkdir()
    (root / "cpu" / "cpu.cfs_quota_us").write_text("-1")
    return root


def test_version_1_quota_is_written_as_kubelets_write_it(tmp_path: Path) -> None:
    """Half a core is 50 ms of each 100 ms."""
    with quotas.cpu_quota(500, _fake_v1(tmp_path)) as join:
        (group,) = [path for path in (tmp_path / "cpu").iterdir() if path.is_dir()]
        join(4711)
        assert (group / "cpu.cfs_period_us").read_text() == "100000"
        assert (group / "cpu.cfs_quota_us").read_text() == "50000"
        assert (group / "cgroup.procs").read_text() == "4711"


def test_version_2_quota_is_written_as_kubelets_write_it(tmp_path: Path) -> None:
    """The same through cgroup v2's single file, the controller enabled first."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    with quotas.cpu_quota(1500, tmp_path):
        (group,) = [path for path in tmp_path.iterdir() if path.is_dir()]
        assert (group / "cpu.max").read_text() == "150000 100000"
        assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu"


def test_no_controller_is_named(tmp_path: Path) -> None:
    """Where no CPU controller is mounted, the error says so."""
    with pytest.raises(CgroupUnavailable, match="neither a cgroup v1 CPU controller nor cgroup v2"), quotas.cpu_quota(500, tmp_path):
        pass


def test_a_group_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file in the way of the group is an error that names it, not a measurement without a quota."""
    root = _fake_v1(tmp_path)
    (root / "cpu" / f"stowplan-{os.getpid()}-500m").write_text("in the way")
    with pytest.raises(CgroupUnavailable, match="stowplan-"), quotas.cpu_quota(500, root):
        pass


def test_a_process_under_quota_gets_its_share() -> None:
    """A busy process limited to 300m uses about 30 % of a core at most."""
    try:
        with quotas.cpu_quota(300) as join:
            process = subprocess.Popen([sys.executable, "-c", f"input()\n{_BURN}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            join(process.pid)
            out, _ = process.communicate("go\n", timeout=20)
    except CgroupUnavailable as error:
        pytest.skip(str(error))
    # The interpreter's start counts too, before the quota held; a whole core would be above 0.6 s. How much less it gets is up to what else runs here.
    assert 0.0 < float(out) < 0.45
