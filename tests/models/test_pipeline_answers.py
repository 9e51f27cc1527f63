"""The whole pipeline on a synthetic bundle: answers, reasons, monotonicity, and never a number that is none."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stowplan_fleet.answers import Answer, Basis, UnknownReason
from stowplan_fleet.devices import CoreThroughput, Device, GpuDevice
from stowplan_fleet.questions import Occupant, Question, Tenant, UnknownOccupant
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import DeviceName, SliceClass, parse_slice
from stowplan_predictor.bundles.loading import load_bundle
from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.pipelines import Pipeline
from support.synthetic_bundles import DEVICE, PER_KERNEL_MS, RUNTIME, SLOWNESS, chain_model, write_synthetic_bundle

NAME = DEVICE.name
DEVICES: dict[DeviceName, Device] = {NAME: DEVICE}
HUGE = replace(DEVICE, cores=64, throughputs=(*DEVICE.throughputs, CoreThroughput(64, 4e12, 1e11)))


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return Pipeline(load_bundle(write_synthetic_bundle(tmp_path_factory.mktemp("bundle") / "b")))


@pytest.fixture(scope="module")
def digest(pipeline: Pipeline) -> GraphDigest:
    return pipeline.analyze(chain_model(), {}).graph_digest


def occupant(digest: GraphDigest, text: str = "cpu:1", rate: float = 10.0, **others: int) -> Occupant:
    return Occupant(digest, SliceClass(NAME, parse_slice(text)), rate, **others)


def ask(pipeline: Pipeline, subject: Occupant, *tenants: Tenant, percentile: int = 95, devices: dict[DeviceName, Device] | None = None) -> Answer:
    return pipeline.predict([Question(subject, tenants, percentile)], DEVICES if devices is None else devices, RUNTIME)[0]


def test_a_service_time_is_the_sum_of_its_kernels(pipeline: Pipeline, digest: GraphDigest) -> None:
    """Three equal convolutions, each at twice its roofline time, and the dispatch of three kernels."""
    answer = ask(pipeline, occupant(digest))
    shares = pipeline.explain(digest, SliceClass(NAME, parse_slice("cpu:1")), DEVICES)

    assert answer.basis is Basis.MEASURED
    assert answer.isolated is not None
    expected = sum(SLOWNESS * 1000 * share.flops / 1e11 + PER_KERNEL_MS for share in shares)
    assert answer.isolated.median_ms == pytest.approx(expected, rel=1e-4)
    assert sum(share.latency_ms for share in shares) == pytest.approx(answer.isolated.median_ms)
    assert sum(share.share for share in shares) == pytest.approx(1.0)
    assert [share.latency_ms for share in shares] == sorted((share.latency_ms for share in shares), reverse=True)


def test_half_a_core_sustains_half_as_much(pipeline: Pipeline, digest: GraphDigest) -> None:
    """On cpu:500m the sustained service time is twice that of a core."""
    whole, half = ask(pipeline, occupant(digest)).isolated, ask(pipeline, occupant(digest, "cpu:500m")).isolated

    assert whole is not None
    assert half is not None
    assert half.median_ms == pytest.approx(2 * whole.median_ms)


UNJUDGED = [
    ("graph", "no such graph", UnknownReason.GRAPH_NOT_FOUND),
    ("runtime", "another runtime", UnknownReason.RUNTIME_NOT_SUPPORTED),
    ("undescribed", "no descriptor", UnknownReason.DEVICE_NOT_DESCRIBED),
    ("gpu", "a GPU", UnknownReason.DEVICE_NOT_SUPPORTED),
    ("far", "a device a hundred times faster", UnknownReason.DEVICE_NOT_SUPPORTED),
    ("large", "more cores than the device has", UnknownReason.SLICE_NOT_SUPPORTED),
    ("mig", "a GPU's slice on a CPU", UnknownReason.SLICE_NOT_SUPPORTED),
    ("batching", "batches", UnknownReason.SERVER_NOT_SUPPORTED),
    ("concurrent", "two at a time", UnknownReason.SERVER_NOT_SUPPORTED),
    ("empty", "no model input in a request", UnknownReason.SERVER_NOT_SUPPORTED),
    ("crowded", "more cores asked for than there are", UnknownReason.TENANTS_NOT_SUPPORTED),
    ("elsewhere", "a tenant on another device", UnknownReason.TENANTS_NOT_SUPPORTED),
    ("batching tenant", "a tenant that batches", UnknownReason.TENANTS_NOT_SUPPORTED),
    ("unknown tenant graph", "a tenant nobody analysed", UnknownReason.GRAPH_NOT_FOUND),
    ("nan", "a rate that is no number", UnknownReason.PREDICTION_NOT_FINITE),
    ("negative", "a negative rate", UnknownReason.PREDICTION_NOT_FINITE),
    ("percentile", "the hundredth percentile", UnknownReason.PREDICTION_NOT_FINITE),
]


@pytest.mark.parametrize(("case", "why", "reason"), UNJUDGED)
def test_what_cannot_be_judged_says_why(pipeline: Pipeline, digest: GraphDigest, case: str, why: str, reason: UnknownReason) -> None:
    """Each unknown has its reason, a message, no number, and the bundle's label."""
    own = occupant(digest)
    missing = GraphDigest("sha256:none")
    fast = replace(DEVICE, throughputs=(CoreThroughput(1, 1e13, 1e12),))
    neighbours: dict[str, tuple[Tenant, ...]] = {
        "crowded": (UnknownOccupant(3500),),
        "elsewhere": (replace(own, slice_class=SliceClass(DeviceName("other"), parse_slice("cpu:1"))),),
        "batching tenant": (replace(own, max_batch=8),),
        "unknown tenant graph": (replace(own, graph_digest=missing),),
    }
    subject = {
        "graph": replace(own, graph_digest=missing),
        "large": occupant(digest, "cpu:5"),
        "mig": occupant(digest, "mig-1g.10gb"),
        "batching": replace(own, max_batch=8),
        "concurrent": replace(own, concurrency=2),
        "empty": replace(own, payload_instances=0),
        "nan": replace(own, requests_per_second=math.nan),
        "negative": replace(own, requests_per_second=-1.0),
    }.get(case, own)
    described: dict[str, dict[DeviceName, Device]] = {"undescribed": {}, "gpu": {NAME: GpuDevice(NAME, 80 << 30)}, "far": {NAME: fast}}
    runtime = "tensorrt" if case == "runtime" else RUNTIME

    answer = pipeline.predict([Question(subject, neighbours.get(case, ()), 100 if case == "percentile" else 95)], described.get(case, DEVICES), runtime)[0]

    assert (answer.basis, answer.unknown_reason) == (Basis.UNKNOWN, reason), why
    assert answer.message
    assert (answer.isolated, answer.colocated, answer.response, answer.utilization) == (None, None, None, None)
    assert answer.bundle == pipeline.bundle.label


def test_a_kernel_nothing_like_which_was_measured_is_unknown(pipeline: Pipeline) -> None:
    """An operator that was never measured is answered by the light fallback where it is as light as those, and only as an extrapolation."""
    light = pipeline.analyze(chain_model(operator="Sqrt"), {}).graph_digest
    answer = ask(pipeline, occupant(light))

    assert answer.basis is Basis.EXTRAPOLATED
    assert "Sqrt" in answer.message
    assert answer.isolated is not None
    assert answer.isolated.upper_ms > 10 * answer.isolated.median_ms
    heavy = _matrix_chain(pipeline)
    assert ask(pipeline, occupant(heavy)).unknown_reason is UnknownReason.KERNEL_NOT_SUPPORTED


def _matrix_chain(pipeline: Pipeline) -> GraphDigest:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.zeros((64, 64, 3, 3), dtype=np.float32), "w")
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], kernel_shape=[3, 3])
    shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64, side, side]) for name, side in (("x", 28), ("y", 30))]
    graph = helper.make_graph([node], "g", shapes[:1], shapes[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return pipeline.analyze(model.SerializeToString(), {}).graph_digest


def test_one_unjudged_question_takes_no_other_with_it(pipeline: Pipeline, digest: GraphDigest) -> None:
    """Answers come in the order of the questions, each on its own."""
    heavy = _matrix_chain(pipeline)
    questions = [Question(occupant(item)) for item in (heavy, digest, GraphDigest("sha256:none"), digest)]

    answers = pipeline.predict(questions, DEVICES, RUNTIME)

    assert [answer.basis for answer in answers] == [Basis.UNKNOWN, Basis.MEASURED, Basis.UNKNOWN, Basis.MEASURED]
    assert answers[1] == answers[3]


def test_batches_answer_as_single_questions_do(pipeline: Pipeline, digest: GraphDigest, tmp_path: Path) -> None:
    """Many questions in one call and one by one in a fresh pipeline give the same answers."""
    fresh = Pipeline(load_bundle(write_synthetic_bundle(tmp_path / "b")))
    fresh.analyze(chain_model(), {})
    questions = [Question(occupant(digest, text, rate), (UnknownOccupant(500),)) for text in ("cpu:1", "cpu:2", "cpu:500m") for rate in (1.0, 50.0)]

    together = pipeline.predict(questions, DEVICES, RUNTIME)

    assert [fresh.predict([question], DEVICES, RUNTIME)[0] for question in questions] == together


def test_a_graph_that_comes_later_is_found(tmp_path: Path) -> None:
    """Not found is never remembered: after the analysis the same question has an answer."""
    fresh = Pipeline(load_bundle(write_synthetic_bundle(tmp_path / "b")))
    other = Pipeline(load_bundle(tmp_path / "b"))
    known = other.analyze(chain_model(), {}).graph_digest
    before = ask(fresh, occupant(known))
    fresh.analyze(chain_model(), {})

    assert before.unknown_reason is UnknownReason.GRAPH_NOT_FOUND
    assert ask(fresh, occupant(known)).basis is Basis.MEASURED


def test_a_new_descriptor_gives_a_new_answer(pipeline: Pipeline, digest: GraphDigest) -> None:
    """Answers are kept by content: the same device name with other numbers is another device."""
    slower = replace(DEVICE, throughputs=tuple(replace(t, flops_per_second=t.flops_per_second / 2) for t in DEVICE.throughputs))
    first, second = ask(pipeline, occupant(digest)), ask(pipeline, occupant(digest), devices={NAME: slower})

    assert first.isolated is not None
    assert second.isolated is not None
    assert second.isolated.median_ms > 1.8 * first.isolated.median_ms
    assert second.basis is Basis.EXTRAPOLATED
    assert second.isolated.upper_ms / second.isolated.median_ms > first.isolated.upper_ms / first.isolated.median_ms


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 400), min_size=2, max_size=6))
def test_more_load_never_lowers_the_response(pipeline: Pipeline, digest: GraphDigest, rates: list[float]) -> None:
    """Both ends of the response interval and the utilization rise with the rate, until the server is overloaded and stays so."""
    answers = [ask(pipeline, occupant(digest, rate=rate)) for rate in sorted(rates)]

    utilization = [answer.utilization for answer in answers if answer.utilization is not None]
    upper = [math.inf if answer.response is None else answer.response.upper_ms for answer in answers]
    assert utilization == sorted(utilization)
    assert upper == sorted(upper)
    assert all((answer.response is None) == answer.overloaded for answer in answers)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 200), min_size=2, max_size=5), st.integers(0, 2000))
def test_a_busier_neighbourhood_never_helps(pipeline: Pipeline, digest: GraphDigest, rates: list[float], millicores: int) -> None:
    """The service time beside a tenant is never below that alone, and never falls when the tenant works more or another one comes."""
    quiet = ask(pipeline, occupant(digest)).colocated
    assert quiet is not None
    last = quiet.upper_ms
    for rate in sorted(rates):
        answer = ask(pipeline, occupant(digest), occupant(digest, rate=rate)).colocated
        assert answer is not None
        assert answer.upper_ms >= last - 1e-9
        last = answer.upper_ms
        crowd = ask(pipeline, occupant(digest), occupant(digest, rate=rate), UnknownOccupant(millicores)).colocated
        assert crowd is not None
        assert crowd.upper_ms >= answer.upper_ms - 1e-9


occupants = st.builds(
    lambda text, rate, payload: (text, rate, payload),
    st.sampled_from(["cpu:1", "cpu:2", "cpu:500m", "cpu:1500m", "cpu:8", "cpu:100m", "cpu:64"]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-1, 10**9),
)


@settings(max_examples=150, deadline=None)
@given(occupants, st.lists(st.one_of(occupants, st.integers(-10, 10**6)), max_size=4), st.integers(-5, 120))
def test_no_answer_ever_holds_a_number_that_is_none(
    pipeline: Pipeline, digest: GraphDigest, subject: tuple[str, float, int], others: list[tuple[str, float, int] | int], percentile: int
) -> None:
    """Whatever is asked, numbers are finite and in order, or absent with a reason."""

    def made(item: tuple[str, float, int]) -> Occupant:
        return occupant(digest, item[0], item[1], payload_instances=item[2])

    tenants = [UnknownOccupant(item) if isinstance(item, int) else made(item) for item in others]

    answer = ask(pipeline, made(subject), *tenants, percentile=percentile, devices={NAME: HUGE})

    assert (answer.unknown_reason is not None) == (answer.basis is Basis.UNKNOWN)
    assert (answer.isolated is None) == (answer.basis is Basis.UNKNOWN)
    assert bool(answer.message) or answer.basis is Basis.MEASURED
    for interval in (answer.isolated, answer.colocated, answer.response):
        if interval is not None:
            assert 0 < interval.lower_ms <= interval.median_ms <= interval.upper_ms < math.inf
            assert interval.coverage == 0.9
    assert answer.utilization is None or math.isfinite(answer.utilization)


def test_explaining_what_cannot_be_judged_names_the_reason(pipeline: Pipeline) -> None:
    """There are no kernels to show for an unknown graph."""
    with pytest.raises(CannotJudge) as refused:
        pipeline.explain(GraphDigest("sha256:none"), SliceClass(NAME, parse_slice("cpu:1")), DEVICES)

    assert refused.value.reason is UnknownReason.GRAPH_NOT_FOUND
