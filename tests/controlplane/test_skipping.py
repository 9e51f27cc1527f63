"""The rule about skipping, shown on test runs of its own."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]

# Every way to skip; `REASON` stands for the reason.
MODULES = {
    "test_within": "def test_it():\n    pytest.skip('REASON')",
    "test_by_mark": "@pytest.mark.skip(reason='REASON')\ndef test_it():\n    pass",
    "test_of_module": "pytest.skip('REASON', allow_module_level=True)",
}


def run(folder: Path, reason: str, *, ci: bool) -> subprocess.CompletedProcess[str]:
    """A run of pytest with our conftest as a plug-in, on modules that skip for that reason and one that passes."""
    folder.mkdir()
    for name, body in MODULES.items():
        (folder / f"{name}.py").write_text(f"import pytest\n{body.replace('REASON', reason)}\n")
    (folder / "test_sound.py").write_text("def test_it():\n    pass\n")
    # Without other plug-ins: they take longer to load than the tests to run.
    environment = {
        **os.environ,
        "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent / 'tools'}",
        "CI": "true" if ci else "",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    options = ["-p", "conftest", "-p", "no:cacheprovider", "-q", "--continue-on-collection-errors", "--rootdir", str(folder), "-c", os.devnull]
    return subprocess.run([sys.executable, "-m", "pytest", *options, str(folder)], env=environment, cwd=folder, capture_output=True, text=True, check=False)


def test_under_ci_only_a_probe_may_skip(tmp_path: Path) -> None:
    """With CI=true each skip without a probe's reason fails, wherever it is written; elsewhere it is only said aloud."""
    refused = run(tmp_path / "ci", "not today", ci=True)
    told = run(tmp_path / "desk", "not today", ci=False)

    assert refused.returncode == 1
    assert refused.stdout.count("the reason does not start with `probe:`: not today") >= len(MODULES)
    assert "1 passed" in refused.stdout
    assert "skipped" not in refused.stdout.splitlines()[-1]
    assert told.returncode == 0
    assert f"{len(MODULES)} SKIPPED: not shown on this machine" in told.stdout
    assert "not today" in told.stdout


def test_what_a_probe_found_missing_may_skip_even_under_ci(tmp_path: Path) -> None:
    """A reason that starts with `probe:` passes, and is said aloud too."""
    allowed = run(tmp_path / "ci", "probe: no Go here", ci=True)

    assert allowed.returncode == 0
    assert f"{len(MODULES)} SKIPPED: not shown on this machine" in allowed.stdout
    assert "probe: no Go here" in allowed.stdout
