"""The server before a real pipeline (its bundle made up): what comes over the wire is what the pipeline says."""

from pathlib import Path

import pytest
from stowplan_fleet.answers import Basis, UnknownReason
from stowplan_fleet.clients import GrpcPredictor
from stowplan_fleet.errors import GraphRefused
from stowplan_fleet.questions import Occupant, Question, UnknownOccupant
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import SliceClass, cpu_slice
from stowplan_predictor.errors import BundleNotFound, BundleRefused
from stowplan_predictor.serving import served
from stowplan_predictor.serving.local import LocalPredictor
from stowplan_predictor.serving.servers import PredictorServer
from stowplan_predictor.serving.settings import Bundles, Grpc, PredictorSettings
from support.synthetic_bundles import DEVICE, RUNTIME, chain_model, write_synthetic_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up bundle on disk."""
    return write_synthetic_bundle(tmp_path_factory.mktemp("bundle") / "synthetic")


async def test_answers_over_the_wire_equal_those_in_the_process(bundle: Path) -> None:
    """Warmed, asked over gRPC and asked directly: the same summaries and the same answers, known ones and unknown ones."""
    loaded = served.load(Bundles(runtimes=(), directories=(str(bundle),)))
    server = PredictorServer(PredictorSettings(grpc=Grpc(port=0)))
    await server.start()
    await server.open(loaded)
    try:
        local = LocalPredictor(loaded[RUNTIME].pipeline)
        async with GrpcPredictor(f"127.0.0.1:{server.port}", 20.0) as remote:
            summary = await remote.analyze(chain_model(), {})
            assert summary == await local.analyze(chain_model(), {})
            subject = Occupant(summary.graph_digest, SliceClass(DEVICE.name, cpu_slice(1000)), 5.0)
            questions = [
                Question(subject),
                Question(subject, (UnknownOccupant(1000),)),
                Question(Occupant(GraphDigest("sha256:" + "0" * 64), subject.slice_class, 1.0)),
            ]
            answers = list(await remote.predict(questions, {DEVICE.name: DEVICE}, RUNTIME))

            assert answers == list(await local.predict(questions, {DEVICE.name: DEVICE}, RUNTIME))
            assert answers[0].basis is not Basis.UNKNOWN
            assert answers[2].unknown_reason is UnknownReason.GRAPH_NOT_FOUND
            with pytest.raises(GraphRefused):
                await remote.analyze(b"no model", {})
    finally:
        await server.stop(0, 0)


def test_bundles_that_cannot_be_had_are_named(bundle: Path, tmp_path: Path) -> None:
    """No bundle at all, a directory without one, and an altered one: each an error that says which."""
    with pytest.raises(BundleNotFound, match="name no bundle"):
        served.load(Bundles(runtimes=()))
    with pytest.raises(BundleNotFound, match="nothing"):
        served.load(Bundles(runtimes=(), directories=(str(tmp_path / "nothing"),)))
    altered = write_synthetic_bundle(tmp_path / "altered")
    (altered / "networks.json").write_bytes((bundle / "networks.json").read_bytes() + b" ")
    with pytest.raises(BundleRefused, match=r"networks\.json"):
        served.load(Bundles(runtimes=(), directories=(str(altered),)))
