"""What a kernel measured on its own took: its quietest run, and a profile that is held against the run right after it."""

import pytest

pytest.importorskip("sklearn", reason="needs the training extra")

from stowplan_predictor.training.data.generated_rows import IsolatedRow
from stowplan_predictor.training.data.measurements import Visit
from stowplan_predictor.training.data.profiled_kernels import isolated_profile
from stowplan_predictor.training.data.profiler_overheads import ProfilerOverhead

pytestmark = pytest.mark.train

OVERHEAD = ProfilerOverhead(kernel_us=2.0, session_us=5.0, pairs=100, median_error_percent=1.0, uncorrected_median_error_percent=3.0)


def row(median_us: float, kernels_us: tuple[float, ...] = (12.0, 82.0, 12.0)) -> IsolatedRow:
    """A convolution between two reorders."""
    return IsolatedRow(
        network="iso-0-00001", family="resnet", kernel="Conv", spec="{}", digest="sha256:0", slice="cpu:1", repeat=1, threads=1, runs=9,
        median_us=median_us, p5_us=median_us, p25_us=median_us, cv=0.01, op_types=("ReorderInput", "Conv", "ReorderOutput"), kernels_us=kernels_us,
        foreign_share=0.0, steal_share=0.0, product_slowdown=1.0, copy_slowdown=1.0, noisy=False, measured_at="2026-11-22T00:00:00Z",
    )  # fmt: skip


def visits(*medians_us: float) -> tuple[Visit, ...]:
    return tuple(Visit(repeat, us / 1000, us / 1000, us / 1000, 0.01, noisy=False) for repeat, us in enumerate(medians_us))


def test_a_profile_is_held_against_the_run_beside_it() -> None:
    """Profiled 106 us, 100 without what the profiler adds, and 5 of the session: a run of 105 right after agrees, whatever other sessions took."""
    found = isolated_profile(row(85.0), OVERHEAD, visits(85.0, 120.0, 130.0, 105.0))

    assert found.ratio == pytest.approx(1.0)


def test_the_quietest_run_tells_the_time() -> None:
    """A quietest run of 85 us less 5 of entry and exit is shared as the profile says: 82 of 106 parts are the convolution's."""
    found = isolated_profile(row(85.0), OVERHEAD, visits(85.0, 120.0, 130.0, 105.0))

    assert found.kernel_ms.tolist() == pytest.approx([0.080 * 82 / 106])
    assert not found.rescaled


def test_a_run_that_is_mostly_entry_and_exit_tells_nothing() -> None:
    """Of a run of 8 us, 5 are the session's: the kernel's time is the profiler's, less what it adds."""
    found = isolated_profile(row(8.0, (1.0, 6.0, 1.0)), OVERHEAD, visits(8.0))

    assert found.kernel_ms.tolist() == pytest.approx([0.002 * 6 / 8])


def test_without_a_run_beside_it_the_quietest_one_judges() -> None:
    """The first kernels were measured in rounds only: their profile is held against the quietest of them."""
    assert isolated_profile(row(105.0), OVERHEAD, visits(105.0, 120.0)).ratio == pytest.approx(1.0)
