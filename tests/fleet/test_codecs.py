"""Values and the contract's messages."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan.predictor.v1 import predictor_pb2 as pb
from stowplan_fleet.answers import Answer, Basis, UnknownReason
from stowplan_fleet.codecs.answers import answer_from_message, answer_to_message, answers_from_message, summary_from_message, summary_to_message
from stowplan_fleet.codecs.questions import question_from_message, request_from_message, request_to_message
from stowplan_fleet.devices import CpuDevice, GpuDevice
from stowplan_fleet.errors import MessageRefused
from stowplan_fleet.predictors import GraphSummary
from stowplan_fleet.questions import Question
from stowplan_fleet.services import GraphDigest
from support import strategies


@given(st.lists(strategies.questions, max_size=3), strategies.cpu_devices(measured=False), strategies.gpu_devices)
def test_a_request_survives_the_wire(questions: list[Question], cpu: CpuDevice, gpu: GpuDevice) -> None:
    """Questions and devices arrive as they were asked, in order."""
    devices = {gpu.name: gpu} | {cpu.name: cpu}
    wire = request_to_message(questions, devices, "onnxruntime-cpu").SerializeToString()

    assert request_from_message(pb.PredictRequest.FromString(wire)) == (questions, devices, "onnxruntime-cpu")


@given(st.lists(strategies.answers, max_size=3))
def test_answers_survive_the_wire(answers: list[Answer]) -> None:
    """Answers arrive as they were given, absent parts absent and zeros zero."""
    wire = pb.PredictResponse(answers=[answer_to_message(answer) for answer in answers], bundle="b@1").SerializeToString()
    back = answers_from_message(pb.PredictResponse.FromString(wire))

    assert [answer_to_message(answer) for answer in back] == [answer_to_message(answer) for answer in answers]
    assert [(a.basis, a.unknown_reason, a.response, a.utilization) for a in back] == [(a.basis, a.unknown_reason, a.response, a.utilization) for a in answers]
    assert all(answer.bundle == "b@1" for answer in back)


def test_a_graph_summary_survives_the_wire() -> None:
    """Every field of an analysis arrives."""
    summary = GraphSummary(GraphDigest("sha256:aa"), "sha256:bb", 1, 2, 3, 4, 5)

    assert summary_from_message(summary_to_message(summary)) == summary


@given(st.binary(max_size=200))
def test_any_message_is_read_or_refused_by_name(raw: bytes) -> None:
    """Hostile bytes that happen to be a request lead to MessageRefused and nothing else."""
    try:
        message = pb.PredictRequest.FromString(raw)
    except Exception:  # noqa: BLE001 - protobuf's own refusal is not ours to judge
        return
    with contextlib.suppress(MessageRefused):
        request_from_message(message)


def test_every_reason_has_its_number_in_the_contract() -> None:
    """The two lists of reasons hold the same names."""
    ours = {f"UNKNOWN_REASON_{reason.name}" for reason in UnknownReason} | {"UNKNOWN_REASON_UNSPECIFIED"}

    assert set(pb.UnknownReason.keys()) == ours


def test_an_unknown_basis_is_refused() -> None:
    """A basis of a newer version is refused, not read as another."""
    with pytest.raises(MessageRefused, match="basis"):
        answer_from_message(pb.Answer(basis=99))  # type: ignore[arg-type]


def test_unknown_needs_a_reason() -> None:
    """BASIS_UNKNOWN without a reason, or with one of a newer version, is refused."""
    for reason in (0, 99):
        with pytest.raises(MessageRefused, match="unknown_reason"):
            answer_from_message(pb.Answer(basis=pb.BASIS_UNKNOWN, unknown_reason=reason))  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_numbers_that_are_none_become_unknown(bad: float) -> None:
    """A predictor that sends NaN is not believed: the answer is unknown, with that reason."""
    message = pb.Answer(basis=pb.BASIS_MEASURED, isolated=pb.LatencyInterval(median_ms=1, lower_ms=0.5, upper_ms=bad, coverage=0.9))
    answer = answer_from_message(message, "b@1")

    assert (answer.basis, answer.unknown_reason, answer.isolated) == (Basis.UNKNOWN, UnknownReason.PREDICTION_NOT_FINITE, None)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"percentile": 0}, "percentile"),
        ({"percentile": 100}, "percentile"),
        ({"subject": pb.Occupant(graph_digest="d", requests_per_second=math.nan)}, "requests_per_second"),
        ({"subject": pb.Occupant(graph_digest="d", requests_per_second=1)}, "payload_instances"),
        ({"subject": pb.Occupant()}, "graph_digest"),
        ({"tenants": [pb.Tenant()]}, "tenant"),
    ],
)
def test_incomplete_questions_are_refused_by_place(change: dict[str, object], where: str) -> None:
    """The message names the part of the question that cannot be read."""
    good = pb.Question(
        percentile=95,
        subject=pb.Occupant(
            graph_digest="d", requests_per_second=1, payload_instances=1, concurrency=1, max_batch=1,
            slice_class=pb.SliceClass(device="x", kind=pb.SLICE_KIND_CPU, profile="1"),
        ),
    )  # fmt: skip
    question_from_message(good)
    fields = {"percentile": good.percentile, "subject": good.subject, "tenants": list(good.tenants)} | change
    with pytest.raises(MessageRefused, match=where):
        request_from_message(pb.PredictRequest(questions=[pb.Question(**fields)]))  # type: ignore[arg-type]
