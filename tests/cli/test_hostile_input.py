"""Whatever is typed or lies in a file, the answer is one line on stderr and a status, never a traceback or a made-up number."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console
from stowplan_cli.inputs.models import parse_shapes
from stowplan_cli.terminal import outputs
from stowplan_cli.terminal.exits import Refused
from support.command_lines import Desk, Run


@pytest.mark.parametrize(
    "text", ["x", "=1x2", "x=0", "x=-1", "x=1x", "x=1xx2", "x=1.5", "x=1e9", "x=a", "x=٣", f"x={'9' * 19}", f"x={'9' * 5000}", "x=1 x 2", "x=1\n"]
)
def test_malformed_shapes_are_refused(run: Run, desk: Desk, text: str) -> None:
    """A shape is NAME=AxB with whole numbers from 1 on; anything else is refused with the form to write."""
    outcome = run("predict", desk.model, *desk.options, "--shape", text)

    assert outcome.status == 1
    assert "--shape" in outcome.stderr
    assert outcome.stdout == ""


def test_a_shape_given_twice_is_refused() -> None:
    """Two answers to one question cannot both be meant."""
    with pytest.raises(Refused, match="twice"):
        parse_shapes(["x=1", "x=2"])


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.lists(st.integers(1, 10**6), max_size=5).map(tuple), max_size=4))
def test_shapes_are_read_as_they_are_written(shapes: dict[str, tuple[int, ...]]) -> None:
    """Any name may stand before the last equals sign, equals signs and blanks included."""
    texts = [f"{name}={'x'.join(str(size) for size in shape)}" for name, shape in shapes.items()]

    assert parse_shapes(texts) == shapes


@pytest.mark.parametrize("shape", ["x=1000000000", "x=100000x100000x100000", "x=1x2", "nobody=1x32x28x28"])
def test_shapes_that_do_not_fit_the_model_are_refused(run: Run, desk: Desk, shape: str) -> None:
    """Absurd sizes, a wrong rank and an unknown input are refused by the analysis, in words."""
    outcome = run("predict", desk.model, *desk.options, "--shape", shape)

    assert outcome.status == 1
    assert outcome.stderr.startswith("stowplan: ")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=400))
def test_files_that_are_no_models_are_refused(run: Run, desk: Desk, tmp_path: Path, content: bytes) -> None:
    """Random bytes are refused with status 1."""
    path = tmp_path / "noise.onnx"
    path.write_bytes(content)
    outcome = run("predict", path, *desk.options)

    assert outcome.status == 1
    assert outcome.stderr.count("\n") == 1


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.999))
def test_truncated_models_are_refused_or_judged_never_crash(run: Run, desk: Desk, tmp_path: Path, share: float) -> None:
    """A file cut off anywhere is refused."""
    whole = desk.model.read_bytes()
    path = tmp_path / "half.onnx"
    path.write_bytes(whole[: int(len(whole) * share)])

    assert run("predict", path, *desk.options).status == 1


def test_paths_that_are_no_files_are_refused(run: Run, desk: Desk, tmp_path: Path) -> None:
    """Missing files, directories and names no file system takes."""
    for path in (tmp_path / "nowhere.onnx", tmp_path, "n" * 5000):
        assert run("predict", path, *desk.options).status == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"name": "x"}', b"[" * 100_000])
def test_descriptors_that_are_none_are_refused(run: Run, desk: Desk, tmp_path: Path, content: bytes) -> None:
    """The message names the file and how to get a good one."""
    path = tmp_path / "device.json"
    path.write_bytes(content)
    outcome = run("predict", desk.model, "--bundle", desk.bundle, "--device", path)

    assert outcome.status == 1
    assert "device.json" in outcome.stderr


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0.0, 1e300])
def test_descriptors_with_impossible_numbers_are_refused(run: Run, desk: Desk, tmp_path: Path, value: float) -> None:
    """No prediction rests on a throughput that cannot be."""
    document = json.loads(desk.device.read_text())
    document["throughputs"][0]["flopsPerSecond"] = value
    path = tmp_path / "device.json"
    path.write_text(json.dumps(document))

    assert run("predict", desk.model, "--bundle", desk.bundle, "--device", path).status == 1


def test_an_altered_bundle_is_refused(run: Run, desk: Desk, tmp_path: Path) -> None:
    """A bundle with one byte changed is not used, and `bundle` says so as well."""
    copy = tmp_path / "bundle"
    for file in desk.bundle.rglob("*"):
        if file.is_file():
            target = copy / file.relative_to(desk.bundle)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes() + (b" " if file.name == "networks.json" else b""))

    for arguments in (("predict", desk.model, "--bundle", copy, "--device", desk.device), ("bundle", copy)):
        outcome = run(*arguments)
        assert outcome.status == 1
        assert "altered" in outcome.stderr


@pytest.mark.parametrize("part", ["", "cpu", "cpu:", "cpu:0", "cpu:-1", "cpu:1e99", "gpu:1", "mig-9g.1gb", "mps-0", "../x"])
def test_malformed_slices_are_refused(run: Run, desk: Desk, part: str) -> None:
    """What is no slice at all is refused input; what is one but not of this device cannot be judged."""
    outcome = run("predict", desk.model, *desk.options, "--slice", part)

    assert outcome.status == 1
    assert "slice" in outcome.stderr


def test_control_characters_do_not_reach_the_terminal(run: Run, desk: Desk) -> None:
    """An error message that quotes input cannot move the cursor or change colours."""
    outcome = run("predict", desk.model, *desk.options, "--slice", "\x1b[31mred")

    assert outcome.status == 1
    assert "\x1b" not in outcome.stderr


def test_wrong_usage_is_status_2(run: Run, desk: Desk) -> None:
    """A missing argument, an unknown option, an unknown command, an unknown format."""
    for arguments in (("predict",), ("predict", desk.model, "--nonsense"), ("nonsense",), ("predict", desk.model, "-o", "xml"), ("measure", desk.model)):
        assert run(*arguments).status == 2


def test_an_unknown_runtime_is_refused(run: Run, desk: Desk) -> None:
    """There is no bundle for it; the message lists which there are."""
    outcome = run("predict", desk.model, "--device", desk.device, "--runtime", "tensorrt")

    assert outcome.status == 1
    assert "tensorrt" in outcome.stderr


def test_tables_show_control_sequences_and_do_not_obey_them(capsys: pytest.CaptureFixture[str]) -> None:
    """A message in a status may set a terminal's title or hide a line; it is printed as the characters it is made of, and in a pipe on one line."""
    hostile = "\x1b]0;title\x07\x1b[31mred" + " and long" * 30

    def table(console: Console) -> None:
        outputs.print_rows(console, ["A"], [[hostile]])
        console.print(hostile, markup=False)

    outputs.emit({}, outputs.Format.TABLE, table)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert shown.count("\\x1b[31mred") == 2
    assert len(shown.splitlines()) == 3
