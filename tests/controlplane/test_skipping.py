"""The rule about skipping, shown on a test run of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]


def run(folder: Path, body: str, *, ci: bool) -> subprocess.CompletedProcess[str]:
    """A run of pytest with our conftest as a plug-in, on one module."""
    (folder / "test_it.py").write_text(f"import pytest\n{body}\n")
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent / 'tools'}", "CI": "true" if ci else ""}
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-q", "--rootdir", str(folder), "-c", os.devnull, str(folder)]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


IN_A_TEST = "def test_it():\n    pytest.skip('{reason}')"
BY_A_MARK = "@pytest.mark.skip(reason='{reason}')\ndef test_it():\n    pass"
OF_A_MODULE = "pytest.skip('{reason}', allow_module_level=True)\ndef test_it():\n    pass"


@pytest.mark.parametrize("body", [IN_A_TEST, BY_A_MARK, OF_A_MODULE])
def test_under_ci_only_a_probe_may_skip(tmp_path: Path, body: str) -> None:
    """With CI=true a skip without a probe's reason fails the run, wherever it is written; elsewhere it is said aloud."""
    bare = body.format(reason="not today")

    refused = run(tmp_path, bare, ci=True)
    told = run(tmp_path, bare, ci=False)

    assert refused.returncode not in (0, 5)  # 5: nothing was collected
    assert "the reason does not start with `probe:`: not today" in refused.stdout
    assert told.returncode in (0, 5)
    assert "1 SKIPPED: not shown on this machine" in told.stdout


@pytest.mark.parametrize("body", [IN_A_TEST, OF_A_MODULE])
def test_what_a_probe_found_missing_may_skip_even_under_ci(tmp_path: Path, body: str) -> None:
    """A reason that starts with `probe:` passes, and is said aloud too."""
    allowed = run(tmp_path, body.format(reason="probe: no Go here"), ci=True)

    assert allowed.returncode in (0, 5)
    assert "probe: no Go here" in allowed.stdout
