"""TLS between the predictor and those who ask it: real servers and clients, certificates in files as a kubelet mounts them."""

import asyncio
import datetime as dt
import logging
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc.aio
import pytest
import trustme
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc
from stowplan_fleet import channels
from stowplan_fleet.channels import ClientTls
from stowplan_fleet.clients import GrpcPredictor
from stowplan_fleet.errors import PredictorUnavailable
from stowplan_fleet.questions import Occupant, Question
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import parse_slice_class
from stowplan_predictor.serving import handshakes
from stowplan_predictor.serving.servers import PredictorServer
from stowplan_predictor.serving.settings import Grpc, Health, PredictorSettings, Tls
from support.answering import ToldPipeline, told
from support.ports import free_port
from support.secret_volumes import SecretVolume, chain

NAME = "predictor.stowplan-system.svc"
QUESTION = Question(Occupant(GraphDigest("sha256:" + b"model".hex()), parse_slice_class("epyc/cpu:1"), 1.0))
EXPIRATION = "stowplan_predictor_certificate_expiration_timestamp_seconds"
FAILURES = "stowplan_predictor_certificate_reload_failures_total"


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    """Who signs everybody's certificates."""
    return trustme.CA()


@pytest.fixture
def ours(ca: trustme.CA, tmp_path: Path) -> SecretVolume:
    """The predictor's Secret."""
    volume = SecretVolume(tmp_path / "predictor")
    volume.put(ca.issue_cert(NAME), ca)
    return volume


@pytest.fixture
def theirs(ca: trustme.CA, tmp_path: Path) -> SecretVolume:
    """A client's Secret."""
    volume = SecretVolume(tmp_path / "client")
    volume.put(ca.issue_cert("operator.test"), ca)
    return volume


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at all the time."""
    monkeypatch.setattr(handshakes, "RENEWAL_S", 0.01)
    monkeypatch.setattr(channels, "RENEWAL_S", 0.0)


@asynccontextmanager
async def running(tls: Tls, health: Health | None = None, port: int = 0) -> AsyncIterator[PredictorServer]:
    """A server that knows one model."""
    server = PredictorServer(PredictorSettings(grpc=Grpc(port=port), tls=tls, health=health or Health()))
    await server.start()
    pipeline = ToldPipeline()
    pipeline.known.add(QUESTION.subject.graph_digest)
    await server.open(told(pipeline))
    try:
        yield server
    finally:
        await server.stop(0, 0)


def client(server: PredictorServer, tls: ClientTls) -> GrpcPredictor:
    return GrpcPredictor(f"127.0.0.1:{server.port}", 10.0, channels.identity(tls))


async def ask(predictor: GrpcPredictor) -> bool:
    """Whether a question was answered."""
    (answer,) = await predictor.predict([QUESTION], {}, "onnxruntime-cpu")
    return answer.response is not None


async def refused(server: PredictorServer, tls: ClientTls) -> str:
    """What a client is told that gets no answer."""
    async with client(server, tls) as predictor:
        with pytest.raises(PredictorUnavailable) as told_:
            await ask(predictor)
    return str(told_.value)


def serial_shown(server: PredictorServer, identity: SecretVolume) -> int:
    """The serial number of the certificate that the server shows to a new connection."""
    context = ssl.create_default_context(cafile=identity.authorities)
    context.load_cert_chain(identity.certificate, identity.key)
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", server.port)) as plain, context.wrap_socket(plain, server_hostname=NAME) as connection:
        shown = connection.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number


def serial_of(leaf: trustme.LeafCert) -> int:
    return x509.load_pem_x509_certificate(chain(leaf)).serial_number


def measured(server: PredictorServer, name: str, **labels: str) -> float:
    value = server.measures.registry.get_sample_value(name, labels)
    assert value is not None
    return value


async def eventually(server: PredictorServer, name: str, least: float) -> None:
    """Waits until a metric is there."""
    async with asyncio.timeout(5):
        while measured(server, name) < least:  # noqa: ASYNC110 - a counter
            await asyncio.sleep(0.01)


async def test_both_sides_show_certificates(ours: SecretVolume, theirs: SecretVolume) -> None:
    """A client whose certificate is signed by the server's client authority is answered, and believes the server by its name."""
    async with running(ours.server()) as server, client(server, theirs.client(NAME)) as predictor:
        assert await ask(predictor)
        assert (await predictor.describe()).name == "told"


async def test_a_client_in_the_clear_is_refused(ours: SecretVolume) -> None:
    """Nothing is answered without TLS, and the error says what to set."""
    async with running(ours.server()) as server:
        assert "set tls.ca_file" in await refused(server, ClientTls())


async def test_a_client_without_a_certificate_is_refused(ours: SecretVolume) -> None:
    """Believing the server is not enough where it asks who one is; where it does not, it is."""
    believing = ClientTls(ours.authorities, server_name=NAME)
    async with running(ours.server()) as server:
        assert "asks for a certificate (tls.certificate_file is empty)" in await refused(server, believing)
    async with running(Tls(ours.certificate, ours.key)) as server, client(server, believing) as predictor:
        assert await ask(predictor)


async def test_a_client_of_another_authority_is_refused(ours: SecretVolume, theirs: SecretVolume, ca: trustme.CA) -> None:
    """A certificate that anybody could have made opens nothing; the error names its file."""
    theirs.put(trustme.CA().issue_cert("operator.test"), ca)
    async with running(ours.server()) as server:
        assert f"does not accept our certificate {theirs.certificate}" in await refused(server, theirs.client(NAME))


async def test_of_a_large_authority_only_those_named_are_answered(ours: SecretVolume, theirs: SecretVolume, ca: trustme.CA) -> None:
    """A certificate is good and holds another name: refused with both, and counted; health is told to everybody whose certificate is good."""
    naming = replace(ours.server(), client_names=("extender.test", "operator.test"))
    async with running(naming) as server:
        async with client(server, theirs.client(NAME)) as predictor:
            assert await ask(predictor)
        theirs.put(ca.issue_cert("*.test", "build-robot.test"), ca)
        said = await refused(server, theirs.client(NAME))
        assert "PERMISSION_DENIED: your certificate holds *.test, build-robot.test; answered are extender.test, operator.test" in said
        assert measured(server, "stowplan_predictor_rpc_seconds_count", method="Predict", code="PERMISSION_DENIED") == 1
        theirs.put(ca.issue_cert(common_name="operator.test"), ca)  # which is a name for people
        assert "your certificate holds no name at all" in await refused(server, theirs.client(NAME))


async def test_a_server_of_another_authority_is_not_believed(ours: SecretVolume, theirs: SecretVolume, ca: trustme.CA) -> None:
    """The error names the file of authorities and what belongs into it."""
    theirs.put(ca.issue_cert("operator.test"), trustme.CA())
    async with running(ours.server()) as server:
        said = await refused(server, theirs.client(NAME))
    assert f"signed by none of the authorities in {theirs.authorities}" in said
    assert "put the certificate of the one that signed it there" in said


async def test_a_server_of_another_name_is_not_believed(ours: SecretVolume, theirs: SecretVolume) -> None:
    """Another certificate of the same authority does not make a predictor; without a name of its own the target's host must be in it."""
    async with running(ours.server()) as server:
        assert "does not hold the name elsewhere.test" in await refused(server, theirs.client("elsewhere.test"))
        assert "does not hold the name 127.0.0.1" in await refused(server, theirs.client())


async def test_an_expired_server_is_not_believed(ours: SecretVolume, theirs: SecretVolume, ca: trustme.CA) -> None:
    """The error says that it is over, and the gauge since when."""
    over = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(hours=1)
    ours.put(ca.issue_cert(NAME, not_before=over - dt.timedelta(days=1), not_after=over), ca)
    async with running(ours.server()) as server:
        assert "has expired: have it renewed" in await refused(server, theirs.client(NAME))
        assert measured(server, EXPIRATION, certificate="own") == over.timestamp()


async def test_a_server_in_the_clear_is_told_apart(theirs: SecretVolume) -> None:
    """A client with TLS gets no answer from a server without, and says which side lacks it."""
    async with running(Tls()) as server:
        assert "the predictor speaks without TLS" in await refused(server, theirs.client(NAME))


@pytest.mark.usefixtures("at_once")
async def test_certificates_of_both_sides_change_under_load_without_a_failed_call(ours: SecretVolume, theirs: SecretVolume, ca: trustme.CA) -> None:
    """Another authority, another server, another client, one after the other, four callers asking all the time: each call is answered."""
    answered = failed = 0
    done = asyncio.Event()

    async def caller(predictor: GrpcPredictor) -> None:
        nonlocal answered, failed
        while not done.is_set():
            try:
                answered += await ask(predictor)
            except PredictorUnavailable:
                failed += 1

    async def more(calls: int) -> None:
        wanted = answered + calls
        async with asyncio.timeout(20):
            while answered < wanted:  # noqa: ASYNC110 - a count of calls, not a time
                await asyncio.sleep(0.01)

    new = trustme.CA()
    renewed, client_renewed = new.issue_cert(NAME), new.issue_cert("operator.test")
    async with running(ours.server()) as server, client(server, theirs.client(NAME)) as predictor, asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(caller(predictor))
        await more(50)
        old = ca.issue_cert(NAME)
        ours.put(old, ca, new)  # first everybody believes the new authority ...
        theirs.put(ca.issue_cert("operator.test"), ca, new)
        await more(50)
        ours.put(renewed, ca, new)  # ... then its certificates come into use ...
        await more(50)
        theirs.put(client_renewed, ca, new)
        await more(50)
        ours.put(renewed, new)  # ... and the former one is forgotten.
        theirs.put(client_renewed, new)
        await more(50)
        done.set()
        shown = await asyncio.to_thread(serial_shown, server, theirs)

    assert failed == 0
    assert answered >= 250
    assert shown == serial_of(renewed)


@pytest.mark.usefixtures("at_once")
async def test_a_client_reconnects_with_its_renewed_certificate(ours: SecretVolume, theirs: SecretVolume) -> None:
    """A predictor that comes back and believes another authority only is asked by the same client, whose certificate changed meanwhile."""
    new, port = trustme.CA(), free_port()
    async with GrpcPredictor(f"127.0.0.1:{port}", 10.0, channels.identity(theirs.client(NAME))) as predictor:
        async with running(ours.server(), port=port):
            assert await ask(predictor)
        ours.put(new.issue_cert(NAME), new)
        async with running(ours.server(), port=port):
            with pytest.raises(PredictorUnavailable):
                await ask(predictor)
            theirs.put(new.issue_cert("operator.test"), new)
            assert await ask(predictor)


@pytest.mark.usefixtures("at_once")
async def test_a_torn_pair_keeps_the_old_one_serving(ours: SecretVolume, theirs: SecretVolume, ca: trustme.CA, caplog: pytest.LogCaptureFixture) -> None:
    """A new certificate beside the old key, then garbage, then nothing: new connections get the old pair, counted and logged; then the new one."""
    caplog.set_level(logging.INFO)
    old, renewed = ca.issue_cert(NAME), ca.issue_cert(NAME)
    authorities = ca.cert_pem.bytes()
    ours.put(old, ca)
    async with running(ours.server()) as server:
        for certificate, key in ((chain(renewed), old.private_key_pem.bytes()), (b"garbage", b"garbage"), (b"", b"")):
            before = measured(server, FAILURES)
            ours.write(certificate, key, authorities)
            await eventually(server, FAILURES, before + 2)
            assert await asyncio.to_thread(serial_shown, server, theirs) == serial_of(old)
            async with client(server, theirs.client(NAME)) as predictor:
                assert await ask(predictor)
        complaints = [record.__dict__["error"] for record in caplog.records if "those read before stay in use" in record.message]
        assert len(complaints) == len(set(complaints)) == 2  # a torn pair, and no certificate twice: not at every look
        ours.put(renewed, ca)
        async with asyncio.timeout(5):
            while await asyncio.to_thread(serial_shown, server, theirs) != serial_of(renewed):  # noqa: ASYNC110 - another side
                await asyncio.sleep(0.01)
    assert "certificates can be used again" in caplog.text


@pytest.mark.usefixtures("at_once")
async def test_a_torn_pair_of_a_client_keeps_it_asking(ours: SecretVolume, theirs: SecretVolume, ca: trustme.CA) -> None:
    """What a client cannot use it does not use: its calls go on with what it read before."""
    async with running(ours.server()) as server, client(server, theirs.client(NAME)) as predictor:
        assert await ask(predictor)
        theirs.write(chain(ca.issue_cert("operator.test")), b"garbage", ca.cert_pem.bytes())
        assert await ask(predictor)


async def test_health_is_told_in_the_clear_on_its_own_port(ours: SecretVolume) -> None:
    """A kubelet, which knows no certificates, is answered there, and nobody is told anything else; the port of calls stays closed to it."""
    async with running(ours.server(), Health(port=0)) as server:
        port = server.ports["health_port"]
        assert port not in (None, 0, server.port)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            said = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
            assert said.status == health_pb2.HealthCheckResponse.SERVING
        async with GrpcPredictor(f"127.0.0.1:{port}", 5.0) as predictor:
            with pytest.raises(PredictorUnavailable, match="UNIMPLEMENTED"):
                await predictor.describe()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)


async def test_a_health_port_that_is_taken_is_named(ours: SecretVolume) -> None:
    """The error names the address."""
    async with running(ours.server(), Health(port=0)) as server:
        taken = server.ports["health_port"]
        second = PredictorServer(PredictorSettings(grpc=Grpc(port=0), health=Health(port=taken)))  # type: ignore[arg-type]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{taken}"):
            await second.start()
        await second.stop(0, 0)


def test_the_process_does_not_start_without_its_certificate(tmp_path: Path) -> None:
    """One line on standard error names the file and what to do; status 1."""
    missing = tmp_path / "tls.crt"
    variables = {"STOWPLAN_PREDICTOR_TLS_CERTIFICATE_FILE": str(missing), "STOWPLAN_PREDICTOR_TLS_KEY_FILE": str(tmp_path / "tls.key")}
    variables |= {"STOWPLAN_PREDICTOR_GRPC_PORT": "0", "STOWPLAN_PREDICTOR_METRICS_PORT": "0"}
    done = subprocess.run([sys.executable, "-m", "stowplan_predictor"], env=os.environ | variables, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        f"stowplan_predictor: {missing}: No such file or directory; is the Secret mounted there, and may this process read it?\n",
    )
