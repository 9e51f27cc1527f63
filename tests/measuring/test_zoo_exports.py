"""Zoo networks become ONNX files that the runtime and the predictor read."""

from pathlib import Path

import onnxruntime
import pytest
from stowplan_predictor.graphs.loading import load_graph
from stowplan_predictor.training.generated import networks as random_networks
from stowplan_predictor.training.zoo.entries import Entry, entries

pytestmark = pytest.mark.train


@pytest.mark.parametrize("seed", range(8))
def test_random_networks_run(seed: int) -> None:
    """The same seed gives the same bytes; the runtime loads them and we count their work."""
    model = random_networks.network(seed)

    assert model == random_networks.network(seed)
    assert load_graph(model).flops > 0
    assert onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).get_outputs()


@pytest.mark.parametrize("entry", [Entry("squeezenet1_1-b1-s64", "squeezenet", "torchvision", "squeezenet1_1", 1, 64), entries()[0]])
def test_exports_are_cached(tmp_path: Path, entry: Entry) -> None:
    """A second export is the first file."""
    exports = pytest.importorskip("stowplan_predictor.training.zoo.exports")
    path = exports.export(entry, tmp_path)
    written = path.stat().st_mtime_ns

    assert load_graph(path.read_bytes()).flops > 0
    assert exports.export(entry, tmp_path).stat().st_mtime_ns == written


def test_a_network_that_no_library_has_is_left_out(tmp_path: Path) -> None:
    """The library's own words reach the reader, and no half-written file stays."""
    exports = pytest.importorskip("stowplan_predictor.training.zoo.exports")
    with pytest.raises(exports.ExportFailed, match="no_such_network"):
        exports.export(Entry("no_such_network-b1-s32", "none", "torchvision", "no_such_network", 1, 32), tmp_path)
    assert not list(tmp_path.iterdir())
