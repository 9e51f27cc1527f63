"""A predictor of one stated law, over gRPC: for tests of the harness and of faults, where no learned number matters.

The law: a model's work is its FLOPs as our own graph analysis counts them; alone it takes work / FLOP/s of the slice's cores; every tenant slows it
by its share of the device's cores; requests queue as in M/M/1, so that the p95 of the response time is service time x ln(20) / (1 - utilization)
(the response time of M/M/1 is exponential: Kleinrock, Queueing Systems, volume 1, section 3.2). The interval has no width.
"""

import math
from collections.abc import Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from typing import Final

import grpc
from stowplan.predictor.v1 import predictor_pb2 as pb
from stowplan.predictor.v1 import predictor_pb2_grpc
from stowplan_fleet import quantities
from stowplan_predictor.errors import PredictorError
from stowplan_predictor.graphs import loading

BUNDLE: Final = "one-stated-law@0"


class LawfulPredictor(predictor_pb2_grpc.PredictorServiceServicer):
    """Answers by the law; forgets nothing until told to."""

    def __init__(self) -> None:
        self.flops: dict[str, int] = {}
        """Work of the graphs analysed so far, by digest."""

    def AnalyzeGraph(self, request: pb.AnalyzeGraphRequest, context: grpc.ServicerContext) -> pb.AnalyzeGraphResponse:  # noqa: N802 -- named by the proto
        """Counts FLOPs."""
        shapes = {name: tuple(shape.dimensions) for name, shape in request.input_shapes.items()}
        try:
            graph = loading.load_graph(request.onnx_model, shapes)
        except PredictorError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        digest, flops = str(graph.digest), sum(op.flops for op in graph.operators)
        self.flops[digest] = flops
        found = loading.model_digest(request.onnx_model)
        return pb.AnalyzeGraphResponse(graph_digest=digest, model_digest=found, operators=len(graph.operators), kernels=len(graph.operators), flops=flops)

    def Predict(self, request: pb.PredictRequest, context: grpc.ServicerContext) -> pb.PredictResponse:  # noqa: N802, ARG002 -- named by the proto
        """Applies the law to each question."""
        return pb.PredictResponse(answers=[self._answer(question, request.devices) for question in request.questions], bundle=BUNDLE)

    def DescribeBundle(self, request: pb.DescribeBundleRequest, context: grpc.ServicerContext) -> pb.DescribeBundleResponse:  # noqa: N802, ARG002 -- named by the proto
        """Says what answers."""
        return pb.DescribeBundleResponse(name="one-stated-law", version="0", runtime="onnxruntime-cpu", manifest_json="{}")

    def _answer(self, question: pb.Question, devices: Mapping[str, pb.Device]) -> pb.Answer:
        subject = question.subject
        if subject.graph_digest not in self.flops:
            return _unknown(pb.UNKNOWN_REASON_GRAPH_NOT_FOUND, "this graph was not analysed here")
        if subject.slice_class.device not in devices:
            return _unknown(pb.UNKNOWN_REASON_DEVICE_NOT_DESCRIBED, f"device {subject.slice_class.device} has no descriptor")
        device = devices[subject.slice_class.device].cpu
        cores = quantities.millicores(subject.slice_class.profile) / 1000
        alone_ms = 1000 * self.flops[subject.graph_digest] / (cores * device.throughputs[0].flops_per_second)
        beside_ms = alone_ms * (1 + sum(map(_cores_of, question.tenants)) / device.cores)
        utilization = subject.requests_per_second * beside_ms / 1000
        answer = pb.Answer(basis=pb.BASIS_EXTRAPOLATED, message="one stated law", isolated=_exactly(alone_ms), colocated=_exactly(beside_ms))
        answer.utilization = utilization
        if utilization < 1:
            answer.response.CopyFrom(_exactly(beside_ms * -math.log(1 - question.percentile / 100) / (1 - utilization)))
        return answer


@contextmanager
def serving(port: int, servicer: LawfulPredictor, credentials: grpc.ServerCredentials | None = None) -> Iterator[None]:
    """Serves an instance on a loopback port, with TLS where there are credentials."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    predictor_pb2_grpc.add_PredictorServiceServicer_to_server(servicer, server)
    address = f"127.0.0.1:{port}"
    _ = server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
    server.start()
    try:
        yield
    finally:
        server.stop(grace=None).wait()


@contextmanager
def serve(port: int, credentials: grpc.ServerCredentials | None = None) -> Iterator[LawfulPredictor]:
    """Serves the law on a loopback port."""
    servicer = LawfulPredictor()
    with serving(port, servicer, credentials):
        yield servicer


def _cores_of(tenant: pb.Tenant) -> float:
    if tenant.HasField("unknown"):
        return tenant.unknown.cpu_millicores / 1000
    return quantities.millicores(tenant.occupant.slice_class.profile) / 1000


def _exactly(milliseconds: float) -> pb.LatencyInterval:
    return pb.LatencyInterval(median_ms=milliseconds, lower_ms=milliseconds, upper_ms=milliseconds, coverage=0.9)


def _unknown(reason: pb.UnknownReason.ValueType, message: str) -> pb.Answer:
    return pb.Answer(basis=pb.BASIS_UNKNOWN, unknown_reason=reason, message=message)
