"""`stowplan profile --runtime torch-inductor --device cuda`: planned, refused or run; never a number without a GPU."""

from pathlib import Path

import pytest
from support.command_lines import Desk, Run


@pytest.mark.parametrize("runtime", ["torch-inductor", "torch-eager"])
def test_the_plan_is_shown_without_a_gpu(run: Run, runtime: str) -> None:
    """Every unit with what it is expected to take."""
    document = run("profile", "--runtime", runtime, "--device", "cuda", "--plan", "-o", "json").json

    assert list(document) == ["runtime", "budgetMinutes", "preparedAtATime", "expectedMinutes", "units"]
    assert {"unit", "expectedSeconds", "withinBudget"} == set(document["units"][0])
    assert document["expectedMinutes"] <= document["budgetMinutes"] < 25
    assert any("/pair/" in unit["unit"] for unit in document["units"])
    assert run("profile", "--runtime", runtime, "--device", "cuda", "--plan").stdout.splitlines()[0].split() == ["UNIT", "SECONDS"]


def test_a_machine_without_a_gpu_is_refused_and_nothing_is_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status 1, what is missing and what to do; no folder, no file."""
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = run("profile", "--runtime", "torch-inductor", "--device", "cuda", "--to", tmp_path / "gpu")

    assert outcome.status == 1
    assert "nvidia-smi is not on the path" in outcome.stderr
    assert "docs/gpu-campaign.md" in outcome.stderr
    assert outcome.stdout == ""
    assert not (tmp_path / "gpu").exists()


@pytest.mark.train
def test_a_driver_without_a_torch_that_can_use_it_is_refused_too(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker is asked for real; a torch built without CUDA, or no device behind the driver, is an error and no timing."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'NVIDIA H200, GPU-0, 580.95.05, 143771, Disabled, Default, Enabled, 345, 1980, 700, 34'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    outcome = run("profile", "--runtime", "torch-eager", "--device", "cuda", "--to", tmp_path / "gpu")

    assert outcome.status == 1
    assert "sees no CUDA device" in outcome.stderr
    assert not (tmp_path / "gpu").exists()


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        (("--runtime", "torch-inductor", "--device", "cuda"), 1, "--to is missing"),
        (("--runtime", "torch-inductor", "--to", "x"), 1, "--device cuda"),
        (("--runtime", "tensorrt", "--device", "cuda"), 1, "torch-inductor or torch-eager"),
        (("--runtime", "torch-eager", "--device", "cuda", "--to", "x", "--minutes", "20"), 1, "at most 8.5 minutes"),
        (("--device", "cuda"), 2, "name the model"),
        ((), 2, "name the model"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(run: Run, options: tuple[str, ...], status: int, told: str) -> None:
    """Each with what would be right."""
    outcome = run("profile", *options)

    assert outcome.status == status
    assert told in " ".join(outcome.stderr.replace("│", " ").split())


def test_a_model_is_profiled_by_onnx_runtime_only(run: Run, desk: Desk) -> None:
    """A campaign brings its own networks; a GPU runs no onnxruntime-cpu."""
    assert "leave the model out" in run("profile", desk.model, "--runtime", "torch-eager", "--device", "cuda").stderr
    assert "runs on this machine's CPU" in run("profile", desk.model, "--device", "cuda").stderr
