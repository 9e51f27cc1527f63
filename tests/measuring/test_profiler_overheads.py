"""What the profiler adds: found again where it is known, and small on the committed data."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from stowplan_predictor.training.data import profiler_overheads
from stowplan_predictor.training.data.datasets import Dataset
from stowplan_predictor.training.data.generated_rows import RandomRow
from stowplan_predictor.training.data.profiler_overheads import Pair, ProfilerOverhead
from stowplan_predictor.training.data.rows import KernelRow

_DATASETS = Path(__file__).parents[2] / "datasets"


def _pairs(kernel_us: float, session_us: float, disturbed: int) -> list[Pair]:
    numbers = np.random.default_rng(0)
    found = []
    for number in range(200):
        kernels, work_us = int(numbers.integers(1, 200)), float(np.exp(numbers.uniform(1, 10)))
        profiled = (work_us + kernel_us * kernels) * float(numbers.normal(1, 0.01))
        run = (work_us + session_us) * (2.0 if number < disturbed else 1.0)
        found.append(Pair(f"n{number}", "cpu:1", kernels, profiled, run))
    return found


def test_a_known_overhead_is_found_among_disturbed_runs() -> None:
    """One pair in ten beside a busy neighbour moves the answer by a tenth at most."""
    found = profiler_overheads.fit_pairs(_pairs(0.8, 6.0, 20))

    assert found.kernel_us == pytest.approx(0.8, abs=0.08)
    assert found.session_us == pytest.approx(6.0, abs=1.0)
    assert found.median_error_percent < found.uncorrected_median_error_percent


def test_too_few_pairs_fit_nothing() -> None:
    """No figure is made up."""
    with pytest.raises(ValueError, match="20 are needed"):
        profiler_overheads.fit_pairs(_pairs(0.8, 6.0, 0)[:10])


def test_a_kernel_never_takes_nothing() -> None:
    """A correction leaves a fifth."""
    overhead = ProfilerOverhead(1.0, 5.0, 100, 1.0, 2.0)

    assert overhead.corrected_us(100.0) == 99.0
    assert overhead.corrected_us(100.0, kernels=10) == 90.0
    assert overhead.corrected_us(1.0) == pytest.approx(0.2)


def test_the_session_takes_no_negative_time() -> None:
    """Where runs outlast what kernels sum to by no constant, the session is nothing, and kernels are fitted alone."""
    found = profiler_overheads.fit_pairs(_pairs(0.8, -50.0, 0))

    assert found.session_us == 0.0
    assert found.kernel_us > 0


def test_the_committed_data_has_a_small_overhead() -> None:
    """Some microseconds a kernel, more where threads are asked, and corrected sums lie nearer to the runs; small networks tell it best."""
    for folder in (path.parent for path in _DATASETS.glob("*/provenance.json")):
        records = pq.read_table(folder / "kernels.parquet", filters=[("network", ">", "fnn"), ("network", "<", "fnn-015")]).to_pylist()
        kernels = tuple(KernelRow(**(record | {"outputs": tuple(record["outputs"])})) for record in records)
        profiled = pq.read_table(folder / "randoms.parquet", filters=[("kind", "==", "fnn"), ("seed", "<", 1500), ("kernels_count", ">", 0)]).to_pylist()
        randoms = tuple(RandomRow(**record) for record in profiled)
        found = profiler_overheads.fit(Dataset(folder.name, {}, (), kernels, (), (), {}, randoms))
        assert "cpu:1" in found
        for overhead in found.values():
            assert 0 < overhead.kernel_us < 10
            assert overhead.session_us > 0
            assert overhead.median_error_percent < overhead.uncorrected_median_error_percent
