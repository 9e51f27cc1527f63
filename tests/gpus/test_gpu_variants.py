"""Library kernels: blocks as the published grids count them, and a mixture's file that says what the mixture says."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the training extra")

from stowplan_fleet.gpus.catalogue import find
from stowplan_predictor.gpus.features import FEATURES, columns_of, feature_matrix, offsets_of
from stowplan_predictor.gpus.figures import Figures
from stowplan_predictor.gpus.machines import Machine, machine_of
from stowplan_predictor.gpus.rooflines import bounds
from stowplan_predictor.gpus.tasks import BATCHED, CONVOLUTION, KINDS, LINEAR, POINTWISE, PRODUCTS, Tasks
from stowplan_predictor.gpus.variants import VARIANTS, blocks
from stowplan_predictor.kernels.regressors import FeatureRegressor
from stowplan_predictor.training.gpus import adaptations, measured_figures, mixture_files, mixtures, samples
from stowplan_predictor.training.gpus.labels import labels
from stowplan_predictor.training.gpus.tables import MODELS, KernelTable

pytestmark = pytest.mark.train

FIGURES = Figures(dict.fromkeys(KINDS, 0.03), 0.8, dict.fromkeys(PRODUCTS, 0.8), dict.fromkeys(PRODUCTS, (128, 64)))
PRODUCT = "Tesla-V100-PCIE-32GB"


def product(kind: str, *sizes: tuple[float, float, float, float, float]) -> Tasks:
    """Products of (batch, m, n, k, width)."""
    rows = [(b, m, n, k, width, 2 * b * m * n * k, 4 * b * (m * k + k * n + m * n)) for b, m, n, k, width in sizes]
    return Tasks((kind,) * len(rows), np.array(rows, dtype=np.float64), np.ones(len(rows), dtype=np.bool_))


@pytest.mark.parametrize(
    ("kind", "size", "kernel", "grid"),
    [
        # Rows of the published tables (made smaller by none): sizes, kernel, blocks of its grid.
        ("bmm", (6, 27, 390, 21, 1), "sgemm_128x128_nn", 4 * 1 * 6),
        ("conv", (1, 5 * 24 * 24, 758, 9 * 119, 24), "scudnn_winograd_128x128_ldg1_ldg4_relu_tile148t_nt_v1", 120 * 3 * 2),
        ("conv", (1, 37 * 40 * 40, 14, 9 * 177, 40), "scudnn_winograd_128x128_ldg1_ldg4_relu_tile148t_nt_v1", 37 * 5 * 3),
        ("conv", (1, 8 * 6 * 6, 753, 9 * 540, 6), "scudnn_winograd_128x128_ldg1_ldg4_relu_tile442t_nt_v1", 48 * 1 * 2),
        ("conv", (1, 55 * 25, 569, 9 * 1701, 5), "sgemm_128x128_nn", 2 * 5 * 36),
        ("conv", (1, 59 * 11 * 11, 184, 9 * 1816, 11), "sgemm_128x64_nn", 5 * 3 * 36),
        ("conv", (1, 9 * 49, 985, 9 * 284, 7), "scudnn_128x64_relu_small_nn_v1", 4 * 16),
    ],
)
def test_blocks_are_those_of_published_grids(kind: str, size: tuple[float, float, float, float, float], kernel: str, grid: int) -> None:
    """The label that a kernel's name gets leads to as many blocks as the table says were launched."""
    family = KINDS[kind]
    (number,) = labels([kernel], family)

    assert blocks(product(kind, size), VARIANTS[family][number]).count.tolist() == [grid]


def test_every_product_has_columns_for_each_of_its_kernels() -> None:
    """Products have finite columns for the kernels of their own family, zeros for others; a kernel's own bound is never below the launch."""
    machine = machine_of_product()
    for kind, family in (("linear", LINEAR), ("bmm", BATCHED), ("conv", CONVOLUTION)):
        tasks = product(kind, (1, 14 * 14 * 8, 64, 576, 14), (1, 1, 1, 9, 1))
        matrix = feature_matrix(tasks, machine, FIGURES)
        assert matrix.shape == (2, len(FEATURES))
        assert np.isfinite(matrix).all()
        own = bounds(tasks, machine, FIGURES).smooth_ms[:, None] * np.exp(matrix[:, offsets_of(family)])
        assert (own > 0.03).all()
        other = CONVOLUTION if family != CONVOLUTION else LINEAR
        assert not matrix[:, columns_of(other)[:, 0]].any()


def machine_of_product() -> Machine:
    gpu = find(PRODUCT)
    assert gpu is not None
    return machine_of(gpu)


def made_up(kind: str, count: int, seed: int, per_shape: float = 0.0) -> samples.Samples:
    """Rows whose kernel is 64x64 when small and 128x64 when large, and takes 1.3 times its bound."""
    chance = np.random.default_rng(seed)
    side = 28.0
    sizes = [(1.0, *np.round(np.exp(chance.uniform(2, 7, 2))).tolist(), 9 * float(chance.integers(8, 200)), side) for _ in range(count)]
    tasks = product(kind, *[(b, m * side * side if kind == "conv" else m, n, k, width) for b, m, n, k, width in sizes])
    results = tasks.column("m") * tasks.column("n")
    small = results < np.median(results)
    names = np.where(small, "sgemm_64x64_nn", "sgemm_128x64_nn")
    before = np.arange(count, dtype=np.float64)
    ms = 1.3 * bounds(tasks, machine_of_product(), FIGURES).smooth_ms + per_shape * before
    table = KernelTable(tasks, np.array([PRODUCT] * count), ms, names, np.zeros((count, 2), dtype=np.int64), before)
    return samples.samples(table, {MODELS[PRODUCT]: FIGURES}, {MODELS[PRODUCT]: per_shape})


@pytest.mark.parametrize("kind", ["linear", "bmm", "conv"])
def test_a_file_says_what_its_mixture_says(kind: str) -> None:
    """The ONNX file of a family, chances of kernels and all, gives the numbers of the models it was made from."""
    rows, family = made_up(kind, 300, 0), KINDS[kind]
    model = mixtures.fit_family(rows, family)
    asked = made_up(kind, 60, 1)
    said = FeatureRegressor(mixture_files.to_model(model, family)).values(asked.features)

    expected = mixtures.Served({family: model})(asked) - np.log(asked.bound_ms)
    assert np.allclose(np.clip(said, model.lower, model.upper), expected, atol=2e-4)


def test_a_light_family_has_one_kernel() -> None:
    """Element-wise kernels have trees on plain features alone, in a file of the same form."""
    rows = made_up("linear", 200, 0)
    light = samples.samples(
        KernelTable(
            Tasks(("add",) * 200, rows.table.tasks.numbers, rows.table.tasks.measured),
            rows.table.products, rows.table.latency_ms, rows.table.names, rows.table.tiles, np.zeros(200),
        ),
        {MODELS[PRODUCT]: FIGURES},
        {MODELS[PRODUCT]: 0.0},
    )  # fmt: skip
    model = mixtures.fit_family(light, POINTWISE)
    said = FeatureRegressor(mixture_files.to_model(model, POINTWISE)).values(light.features)

    assert not model.choosers
    assert np.allclose(said, mixtures.Served({POINTWISE: model})(light) - np.log(light.bound_ms), atol=2e-4)


def test_names_of_readings_tell_which_kernels_run() -> None:
    """Six readings that all ran as a kernel nobody thought of make it the likeliest one; readings as thought change nothing."""
    rows = made_up("bmm", 300, 0)
    served = mixtures.Served({BATCHED: mixtures.fit_family(rows, BATCHED)})
    asked = made_up("bmm", 6, 2)
    thought = served.thoughts(asked)
    assert thought.odds() == {}

    asked.table.names[:] = "sgemm_128x128_nn"
    odds = served.thoughts(asked).odds()[BATCHED]
    chances = thought.parts[BATCHED].chances * np.exp(odds)
    assert (chances.argmax(axis=1) == [variant.name for variant in VARIANTS[BATCHED]].index("128x128")).all()


def test_what_the_host_adds_is_found_from_the_order_of_rows() -> None:
    """A slope over the order of convolutions is found to a few percent, and what is left is what the kernels take."""
    rows = made_up("conv", 400, 0, per_shape=2e-4)
    found = measured_figures.hosts(rows.table)

    assert found[MODELS[PRODUCT]] == pytest.approx(2e-4, rel=0.1)
    left = measured_figures.own_ms(rows.table, {MODELS[PRODUCT]: 2e-4})
    assert np.allclose(left, rows.table.latency_ms - 2e-4 * rows.table.shapes_before)


def test_twenty_readings_tell_a_slow_host_and_slow_products() -> None:
    """Launches twice as long and products half as slow again, told by twenty readings: errors fall to a small part of what they were."""
    rows = made_up("bmm", 300, 0)
    slow = rows.launch_ms * 2.0 + (1.3 * rows.bound_ms - rows.launch_ms) * 1.5
    rows.table.latency_ms[:] = slow
    said = np.log(1.3 * rows.bound_ms)
    picked = np.zeros(300, dtype=np.bool_)
    picked[::15] = True
    better = adaptations.adapted(rows.part(picked), said[picked], rows, said)

    before, after = np.abs(np.exp(said) / slow - 1).mean(), np.abs(np.exp(better) / slow - 1).mean()
    assert before > 0.3
    assert after < 0.08
