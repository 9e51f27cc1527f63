"""Descriptors are read from what Linux says."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_predictor.errors import MeasurementError
from stowplan_predictor.measuring import devices, probes

_CPUINFO = """processor	: 0
cpu family	: 25
model		: 17
model name	: AMD EPYC
flags		: fpu sse4_1 avx avx2 avx512f avx512_vnni fma f16c nonsense

processor	: 1
model name	: another
"""


def test_model_and_extensions() -> None:
    """Only extensions that kernels choose by, sorted; a hidden product gets its family and model."""
    model, isa = devices.parse_cpuinfo(_CPUINFO)

    assert model == "AMD EPYC family 25 model 17"
    assert isa == ("avx", "avx2", "avx512_vnni", "avx512f", "f16c", "fma", "sse4_1")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("AMD EPYC family 25 model 17", "AMD-EPYC-family-25-model-17"),
        ("Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz", "Intel-Xeon-Platinum-8375C"),
        ("AMD EPYC 9B14 96-Core Processor", "AMD-EPYC-9B14"),
    ],
)
def test_names_of_known_models(model: str, name: str) -> None:
    """Trade marks, clock and core counts do not name a model."""
    assert devices.default_name(model) == name


@given(st.text(max_size=200))
def test_every_name_is_a_label_value(model: str) -> None:
    """A name is a valid label value, or the model is refused."""
    try:
        name = devices.default_name(model)
    except MeasurementError:
        return
    assert re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", name)


@pytest.mark.parametrize(("text", "size"), [("32K", 32768), ("1024K\n", 1 << 20), ("32M", 32 << 20), ("512", 512)])
def test_cache_sizes_are_bytes(text: str, size: int) -> None:
    """Sysfs writes K and M."""
    assert devices.parse_size(text) == size


def test_instruction_caches_do_not_count(tmp_path: Path) -> None:
    """Only data and unified caches hold tensors."""
    for index, (level, kind, size) in enumerate([(1, "Data", "32K"), (1, "Instruction", "64K"), (2, "Unified", "1M"), (3, "Unified", "32M")]):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        for name, text in {"level": str(level), "type": kind, "size": size}.items():
            (folder / name).write_text(text)

    assert devices.cache_sizes(tmp_path) == (32 << 10, 1 << 20, 32 << 20)


def test_a_containers_quota_bounds_its_cores(tmp_path: Path) -> None:
    """A container limited to one core does not describe two."""
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    assert devices.available_cores(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert devices.available_cores(tmp_path) >= 1


@given(st.integers(1, 1024))
def test_core_counts_run_from_one_to_all(cores: int) -> None:
    """Throughputs ascend from one core to all."""
    counts = devices.core_counts(cores)

    assert counts[0] == 1
    assert counts[-1] == cores
    assert list(counts) == sorted(set(counts))


def test_probes_reach_what_a_cpu_can_reach() -> None:
    """A matrix product and a dispatch take times that a CPU can have: between a gigaflop and ten teraflops a core, and between nothing and a millisecond."""
    assert 1e9 < probes.MatrixProduct(1).flops_per_second() < 1e13
    assert 0 <= probes.Chains("Relu").dispatch_us() < 1000
