"""Pipelines that are given a memory of graphs use it, however empty it is: nobody reads model files on his own."""

from pathlib import Path

import pytest
from stowplan_fleet.errors import GraphRefused
from stowplan_fleet.predictors import GraphSummary
from stowplan_predictor.bundles.loading import load_bundle
from stowplan_predictor.pipelines import Pipeline
from stowplan_predictor.pipelines.analyses import Analysed, Analyses, reading_here
from support.synthetic_bundles import chain_model, write_synthetic_bundle


def test_two_pipelines_read_a_file_once_and_both_know_the_graph(tmp_path: Path) -> None:
    """The analyst that was given is asked, once; what one pipeline analysed, the other can judge."""
    write_synthetic_bundle(tmp_path / "bundle")
    bundle, read = load_bundle(tmp_path / "bundle"), []

    def analyst(onnx_model: bytes | memoryview, input_shapes: dict[str, tuple[int, ...]]) -> Analysed:
        read.append(len(onnx_model))
        return reading_here([bundle.fusion])(onnx_model, input_shapes)

    shared = Analyses(analyst, 1 << 24)  # type: ignore[arg-type] # a function is an analyst
    one, other = Pipeline(bundle, shared), Pipeline(bundle, shared)
    found: GraphSummary = one.analyze(chain_model(), {})

    assert other.analyze(chain_model(), {}) == found
    assert len(read) == 1
    assert one.cache_entries["graphs"] == other.cache_entries["graphs"] == 1


def test_an_analyst_that_refuses_is_the_only_one_that_was_asked(tmp_path: Path) -> None:
    """A server's reading process that refuses a file is not followed by a reading in the server itself."""
    write_synthetic_bundle(tmp_path / "bundle")

    def refusing(onnx_model: bytes | memoryview, input_shapes: dict[str, tuple[int, ...]]) -> Analysed:
        raise GraphRefused(f"{len(onnx_model)} bytes and {len(input_shapes)} shapes: refused elsewhere")

    pipeline = Pipeline(load_bundle(tmp_path / "bundle"), Analyses(refusing, 1 << 24))  # type: ignore[arg-type] # a function is an analyst
    with pytest.raises(GraphRefused, match="refused elsewhere"):
        pipeline.analyze(chain_model(), {})
