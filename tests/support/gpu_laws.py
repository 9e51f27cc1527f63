"""`python -m support.gpu_laws PORT`: GPUs judged by one stated law, over gRPC, for tests in which no learned number matters. It judges nothing real.

The law: a model's work is its FLOPs as our own graph analysis counts them; alone it takes ten times work / FLOP/s of the slice, as `stowplan slices` has it
(labels of the node win over the table); every tenant that can be on the GPU at once slows it by its own time; requests queue as in M/M/1, so that the p95 of
the response time is service time x ln(20) / (1 - utilization). The interval has no width.
What it claims to rest on: MIG instances are extrapolated, all else is measured.
"""

import math
import sys
from collections.abc import Mapping
from concurrent import futures
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from stowplan.predictor.v1 import predictor_pb2 as pb
from stowplan.predictor.v1 import predictor_pb2_grpc
from stowplan_fleet.codecs.devices import device_from_message
from stowplan_fleet.codecs.questions import question_from_message
from stowplan_fleet.devices import GpuDevice
from stowplan_fleet.errors import ShareRefused
from stowplan_fleet.gpus.shares import share_of
from stowplan_fleet.slices import SliceKind, parse_slice_class
from support.lawful_predictors import LawfulPredictor

RUNTIME: Final = "torch-eager"
_TIMES_SLOWER: Final = 10.0


def response_ms(flops: float, device: GpuDevice, slice_class: str, tenants: int = 0, requests_per_second: float = 1.0) -> float:
    """The p95 of the response time by the law; infinite where the load cannot be sustained."""
    alone_ms = 1000 * _TIMES_SLOWER * flops / share_of(device, parse_slice_class(slice_class).slice).flops_per_second
    beside_ms = alone_ms * (1 + tenants)
    utilization = requests_per_second * beside_ms / 1000
    return beside_ms * math.log(20) / (1 - utilization) if utilization < 1 else math.inf


class LawfulGpuPredictor(LawfulPredictor):
    """Answers by the law for GPUs; what is no GPU is not supported."""

    def _answer(self, question: pb.Question, devices: Mapping[str, pb.Device]) -> pb.Answer:
        asked = question_from_message(question)
        device = device_from_message(asked.subject.slice_class.device, devices[asked.subject.slice_class.device])
        flops = self.flops.get(asked.subject.graph_digest)
        if flops is None:
            return pb.Answer(basis=pb.BASIS_UNKNOWN, unknown_reason=pb.UNKNOWN_REASON_GRAPH_NOT_FOUND, message="this graph was not analysed here")
        if not isinstance(device, GpuDevice):
            return pb.Answer(basis=pb.BASIS_UNKNOWN, unknown_reason=pb.UNKNOWN_REASON_DEVICE_NOT_SUPPORTED, message="the law is of GPUs")
        most = len(asked.tenants) if asked.tenants_at_once is None else asked.tenants_at_once
        try:
            took_ms = response_ms(flops, device, str(asked.subject.slice_class), most, asked.subject.requests_per_second)
        except ShareRefused as error:
            return pb.Answer(basis=pb.BASIS_UNKNOWN, unknown_reason=pb.UNKNOWN_REASON_SLICE_NOT_SUPPORTED, message=str(error))
        interval = pb.LatencyInterval(median_ms=took_ms, lower_ms=took_ms, upper_ms=took_ms, coverage=0.9)
        basis = pb.BASIS_EXTRAPOLATED if asked.subject.slice_class.slice.kind is SliceKind.MIG else pb.BASIS_MEASURED
        if math.isinf(took_ms):
            return pb.Answer(basis=basis, message="one stated law", utilization=1.0)
        return pb.Answer(basis=basis, message="one stated law", isolated=interval, colocated=interval, response=interval, utilization=0.5)


def main(port: int) -> None:
    """Serves the law on a loopback port until killed, and says that it is healthy."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    healthy = health.HealthServicer()
    predictor_pb2_grpc.add_PredictorServiceServicer_to_server(LawfulGpuPredictor(), server)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(int(sys.argv[1]))
