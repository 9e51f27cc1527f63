"""Several predictors behind one name: each is given every graph, whoever comes and goes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
import trustme
from controlplane_clusters import free_ports
from stowplan.predictor.v1 import predictor_pb2 as pb
from stowplan.predictor.v1 import predictor_pb2_grpc
from stowplan_fleet import channels, slices
from stowplan_fleet.channels import ClientTls
from stowplan_fleet.errors import PredictorUnavailable
from stowplan_fleet.questions import Occupant, Question
from stowplan_fleet.services import GraphDigest
from stowplan_operator.reconciling import endpoints
from stowplan_operator.reconciling.endpoints import Endpoints

DIGEST = "sha256:" + "0" * 64
QUESTION = Question(Occupant(GraphDigest(DIGEST), slices.parse_slice_class("x/cpu:1"), 1.0))


class Remembering(predictor_pb2_grpc.PredictorServiceServicer):
    """Knows the graphs that it was given."""

    def __init__(self) -> None:
        self.graphs: list[bytes] = []

    async def AnalyzeGraph(self, request: pb.AnalyzeGraphRequest, context: object) -> pb.AnalyzeGraphResponse:  # noqa: N802, ARG002 -- named by the proto
        """Remembers."""
        self.graphs.append(request.onnx_model)
        return pb.AnalyzeGraphResponse(graph_digest=DIGEST, model_digest=DIGEST)

    async def Predict(self, request: pb.PredictRequest, context: object) -> pb.PredictResponse:  # noqa: N802, ARG002 -- named by the proto
        """Says whether it knows."""
        reason = pb.UNKNOWN_REASON_KERNEL_NOT_SUPPORTED if self.graphs else pb.UNKNOWN_REASON_GRAPH_NOT_FOUND
        return pb.PredictResponse(answers=[pb.Answer(basis=pb.BASIS_UNKNOWN, unknown_reason=reason) for _ in request.questions], bundle="b@1")

    async def DescribeBundle(self, request: pb.DescribeBundleRequest, context: object) -> pb.DescribeBundleResponse:  # noqa: N802, ARG002 -- named by the proto
        """Says nothing of itself."""
        return pb.DescribeBundleResponse()


@asynccontextmanager
async def running(port: int, credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[Remembering]:
    servicer, server = Remembering(), grpc.aio.server()
    predictor_pb2_grpc.add_PredictorServiceServicer_to_server(servicer, server)
    if credentials is None:
        server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        server.add_secure_port(f"127.0.0.1:{port}", credentials)
    await server.start()
    try:
        yield servicer
    finally:
        await server.stop(None)


async def test_every_predictor_behind_a_name_gets_every_graph_also_one_that_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two addresses: both are given the graph. One is started anew, a third comes: it is noticed that somebody has not got it, and a push reaches all."""
    monkeypatch.setattr(endpoints, "_FRESH_S", 0.0)
    ports = free_ports(3)
    there = ports[:2]

    async def resolve(name: str, port: int) -> Sequence[str]:
        assert (name, port) == ("predictors.test", 50051)
        return [f"127.0.0.1:{port}" for port in there]

    async with running(ports[0]) as first, running(ports[1]) as second, Endpoints(["dns:///predictors.test:50051"], 5.0, resolve) as front:
        await front.analyze(b"graph", {})
        assert (first.graphs, second.graphs) == ([b"graph"], [b"graph"])
        assert not await front.anywhere_forgotten(QUESTION, {}, "r")
        second.graphs.clear()
        assert await front.anywhere_forgotten(QUESTION, {}, "r")
        await front.analyze(b"graph", {})
        assert not await front.anywhere_forgotten(QUESTION, {}, "r")
        async with running(ports[2]) as third:
            there = ports
            assert await front.anywhere_forgotten(QUESTION, {}, "r")
            await front.analyze(b"graph", {})
            assert third.graphs == [b"graph"]
        # The third one is away: it says nothing of its graphs, and the others still answer.
        assert not await front.anywhere_forgotten(QUESTION, {}, "r")
        assert len(await front.predict([QUESTION], {}, "r")) == 1


async def test_a_name_that_leads_nowhere_for_a_while_keeps_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that fails does not lose predictors that answer; where nothing was ever found, the call says that nobody answered."""
    monkeypatch.setattr(endpoints, "_FRESH_S", 0.0)
    (port,) = free_ports(1)
    works = True

    async def resolve(name: str, number: int) -> Sequence[str]:
        del name, number
        await asyncio.sleep(0)
        if not works:
            raise OSError("no such name")
        return [f"127.0.0.1:{port}"]

    async with running(port), Endpoints(["dns:///predictors.test:50051"], 5.0, resolve) as front:
        await front.analyze(b"graph", {})
        works = False
        assert len(await front.predict([QUESTION], {}, "r")) == 1
    async with Endpoints(["127.0.0.1:1"], 0.5) as nobody:
        with pytest.raises(PredictorUnavailable):
            await nobody.predict([QUESTION], {}, "r")


async def test_the_certificate_of_every_predictor_holds_the_name_that_led_to_it(tmp_path: Path) -> None:
    """Replicas are dialled by address, and certificates hold the Service's name: it is that name which is asked for, and no other."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    leaf = ca.issue_cert("predictors.test")
    credentials = grpc.ssl_server_credentials([(leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes())])
    believing = channels.identity(ClientTls(str(tmp_path / "ca.crt")))
    ports = free_ports(2)

    async def resolve(name: str, port: int) -> Sequence[str]:
        del name, port
        await asyncio.sleep(0)
        return [f"127.0.0.1:{one}" for one in ports]

    async with running(ports[0], credentials) as first, running(ports[1], credentials) as second:
        async with Endpoints(["dns:///predictors.test:50051"], 5.0, resolve, believing) as front:
            await front.analyze(b"graph", {})
        assert (first.graphs, second.graphs) == ([b"graph"], [b"graph"])
        async with Endpoints(["dns:///elsewhere.test:50051"], 5.0, resolve, believing) as front:
            with pytest.raises(PredictorUnavailable, match=r"does not hold the name elsewhere\.test"):
                await front.analyze(b"graph", {})
