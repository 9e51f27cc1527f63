"""The commands as programs: what is imported, what goes to which stream, how they end."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from stowplan_cli import processes
from stowplan_cli.terminal import exits
from support.command_lines import Desk, Run

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(sys.executable).parent / "stowplan"


def program(*arguments: object, name: str = "stowplan") -> subprocess.CompletedProcess[str]:
    """Runs an installed console script."""
    return subprocess.run([PROGRAM.with_name(name), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)


def test_help_imports_nothing_heavy() -> None:
    """Help starts at once: no numerics, no runtime, no cluster client is imported to print it."""
    code = (
        "import sys; sys.argv = ['stowplan', '--help']\n"
        "from stowplan_cli.main import main\n"
        "try: main()\n"
        "finally: print('HEAVY', sorted({'numpy', 'onnx', 'onnxruntime', 'grpc', 'rich', 'yaml', 'kopf', 'kubernetes', 'torch', 'msgspec'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert "predict" in done.stdout
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_results_go_to_stdout_and_nothing_else_does(desk: Desk) -> None:
    """A pipe gets pure JSON; no colours, no progress."""
    done = program("predict", desk.model, *desk.options, "--slice", "cpu:1", "-o", "json")

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["predictions"][0]["slice"] == "cpu:1"


def test_a_pipe_gets_no_escape_sequences(desk: Desk) -> None:
    """Tables are plain text where no terminal reads them."""
    done = program("explain", desk.model, *desk.options)

    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr


def test_statuses_are_those_of_the_contract(desk: Desk) -> None:
    """0 done, 1 refused, 2 usage, 3 cannot judge; reasons on stderr, stdout empty where nothing was done."""
    refused = program("predict", "nowhere.onnx", *desk.options)
    usage = program("predict")
    unknown = program("explain", desk.model, *desk.options, "--slice", "cpu:64")

    assert (refused.returncode, usage.returncode, unknown.returncode) == (1, 2, 3)
    assert refused.stdout == usage.stdout == unknown.stdout == ""
    assert "Traceback" not in refused.stderr + usage.stderr + unknown.stderr
    assert refused.stderr == "stowplan: nowhere.onnx: no such file; name an ONNX file\n"


def test_kubectl_finds_it_as_a_plugin() -> None:
    """`kubectl stowplan --version` runs the same program."""
    done = program("--version", name="kubectl-stowplan")

    assert done.returncode == 0
    assert done.stdout.startswith("stowplan ")


@pytest.mark.parametrize("output", ["table", "json", "yaml"])
def test_a_reader_that_leaves_is_no_error(desk: Desk, output: str) -> None:
    """`stowplan explain ... | head -1` ends well, without a traceback, also in a shell that looks at every program of a pipe."""
    command = f"set -o pipefail; {PROGRAM} explain {desk.model} {' '.join(desk.options)} -o {output} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", [name for name, _, _ in processes.PROCESSES])
def test_every_process_has_help_of_its_own(run: Run, name: str) -> None:
    """Options go to the module's own entry point, and help names the command."""
    assert name in run("--help").stdout


def test_settings_that_are_none_are_refused_by_the_process(tmp_path: Path) -> None:
    """Arguments reach the process: a settings file that is not there is its error, status 1."""
    done = program("serve-extender", "--settings", tmp_path / "nowhere.yaml")

    assert done.returncode == 1
    assert "nowhere.yaml" in done.stderr


def test_a_missing_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the operator's libraries are not installed, the message says what to install."""
    for module in [name for name in sys.modules if name.split(".")[0] == "stowplan_operator"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "kopf", None)
    outcome = run("operator", "--help")

    assert outcome.status == 1
    assert "pip install 'stowplan[operator]'" in outcome.stderr


@pytest.mark.parametrize(("command", "missing"), [("evaluate", "pyarrow"), ("train", "pyarrow")])
def test_training_commands_name_the_training_extra(command: str, missing: str, tmp_path: Path) -> None:
    """Where the training libraries are not installed, the message says what to install; nothing is written."""
    code = f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['stowplan', {command!r}]\nfrom stowplan_cli.main import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"stowplan: this command needs {missing}, which is not installed: pip install 'stowplan[train]'\n"
    assert list(tmp_path.iterdir()) == []


def test_every_optional_dependency_belongs_to_the_extra_that_brings_it() -> None:
    """The extras that messages name are those of the distribution; no requirement of theirs is forgotten, and nothing is named that they do not bring."""
    modules = {"grpcio-health-checking": "grpc_health", "grpcio-reflection": "grpc_reflection", "scikit-learn": "sklearn"}
    optional = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    brought: dict[str, set[str]] = {}
    for extra in exits._EXTRAS:
        names = (re.split(r"[<>=\[]", item, maxsplit=1)[0] for item in optional[extra])
        brought[extra] = {modules.get(name, name.replace("-", "_")) for name in names if name != "stowplan"}
    for extra, named in exits._EXTRAS.items():
        assert set(named) <= brought[extra], extra
        assert brought[extra] <= {module for each in exits._EXTRAS.values() for module in each}, extra

    assert exits.extra_of("torch.nn") == "train"
    assert exits.extra_of("stowplan_nowhere") is None
