"""Learned fusion: what is trained is what is served, and judgement is honest about families."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

# Imports it without the warnings of what torch is about to give up.
pytest.importorskip("torch_geometric", reason="needs the training extra")

import torch
from stowplan_predictor.fusion import rules, tables
from stowplan_predictor.fusion.classifier_inputs import EDGE_FEATURES, OPERATOR_FEATURES, classifier_inputs
from stowplan_predictor.fusion.classifiers import LearnedFusion
from stowplan_predictor.fusion.fused_kernels import Kernel
from stowplan_predictor.fusion.serving import FusionSource, RuleFusion, open_fusion
from stowplan_predictor.fusion.tables import FusionTable
from stowplan_predictor.graphs.opgraphs import OpGraph
from stowplan_predictor.training.data.folds import LIGHT_FOLD
from stowplan_predictor.training.fusion import fits as fusion_fits
from stowplan_predictor.training.fusion.fits import FittedFusion, fit
from stowplan_predictor.training.fusion.judgements import Outcome, Unit, fold_of, judged, learners, unlearned
from stowplan_predictor.training.fusion.models import EdgeClassifier, to_onnx
from stowplan_predictor.training.fusion.samples import FusionSample, block_samples, distinct
from stowplan_predictor.training.harness.units import Units
from stowplan_predictor.training.rivals import fusions

TYPES = ("Add", "Conv", "Relu")


@pytest.fixture(scope="module")
def blocks() -> list[FusionSample]:
    """Random networks as this machine's runtime fuses them."""
    return list(block_samples(range(8)))


@pytest.fixture(scope="module")
def fitted(blocks: list[FusionSample]) -> Iterator[FittedFusion]:
    """The smallest training there is: a few windows, two epochs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fusion_fits, "_EPOCHS", 2)
        patch.setattr(fusion_fits, "_WINDOWS_A_FAMILY", 1)
        yield fit(blocks[:6], tables.RULES_GAT_LSTM, 0, blocks[6:])


@pytest.mark.train
def test_training_gives_curves_and_a_fusion_that_serves(fitted: FittedFusion, blocks: list[FusionSample]) -> None:
    """One value an epoch and curve; the bundle's files open, and cut a graph into kernels that hold every operator once."""
    assert {len(curve) for curve in fitted.curves.values()} == {2}
    fusion = open_fusion(FusionSource(fitted.table, fitted.files[fitted.table.file]))
    kernels = fusion.kernels(blocks[7].graph, 16)

    assert sorted(index for kernel in kernels for index in kernel.operators) == list(range(len(blocks[7].graph.operators)))
    assert "rules_fuse" in fitted.table.edge_features


@pytest.mark.train
@pytest.mark.parametrize("recurrent", [True, False])
def test_onnx_runtime_answers_as_torch(blocks: list[FusionSample], recurrent: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Exported along one graph, the classifier gives torch's logits on graphs of other sizes, also on one without any edge."""
    torch.manual_seed(0)
    first, *others = (classifier_inputs(rules.grouped(sample.graph), TYPES, 16) for sample in blocks[:4])
    columns = first.nodes.shape[1]
    model = EdgeClassifier(torch.zeros(columns), torch.ones(columns), first.links.shape[1], recurrent=recurrent).eval()
    tensors = [torch.from_numpy(array) for array in (first.nodes, first.edges, first.links)]
    exported = to_onnx(model, *tensors)
    table = FusionTable(tables.GAT_LSTM, "f", TYPES, OPERATOR_FEATURES, EDGE_FEATURES)
    served = LearnedFusion(table, exported)

    for inputs in (first, *others):
        with torch.no_grad():
            wanted = model(
                *(torch.from_numpy(array) for array in (inputs.nodes, inputs.edges, inputs.links)), torch.zeros(len(inputs.nodes), dtype=torch.int64)
            )
        np.testing.assert_allclose(served.logits(inputs), wanted.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.train
def test_a_fusion_of_another_version_is_refused(fitted: FittedFusion) -> None:
    """Other columns, an unknown system, a missing file or a broken one: a named reason instead of wrong kernels."""
    other = FusionTable(tables.GAT_LSTM, "f", (), ("something else",), ())
    for table, content, message in (
        (other, b"x", "other features"),
        (FusionTable("wishes", "f", (), (), ()), b"x", "wishes"),
        (fitted.table, b"", "missing"),
        (fitted.table, b"no model", "cannot open"),
    ):
        with pytest.raises(ValueError, match=message):
            open_fusion(FusionSource(table, content))
    assert isinstance(open_fusion(FusionSource(FusionTable.rules())), RuleFusion)


@pytest.mark.train
def test_nobody_is_judged_by_a_relative(blocks: list[FusionSample]) -> None:
    """Learners of a fold share no family with those it judges, and light models never teach."""
    families = sorted({sample.family for sample in blocks})
    splits = {family: number % 3 for number, family in enumerate(families)}
    light = FusionSample("light", families[0], "light", blocks[0].graph, blocks[0].truth, 16)
    samples = [*blocks, light]
    for fold in (LIGHT_FOLD, 0, 1, 2):
        own = {sample.family for sample in samples if fold_of(sample, splits) == fold}
        teaching = learners(samples, splits, fold)

        assert own
        assert own.isdisjoint(sample.family for sample in teaching)
        assert light not in teaching


@pytest.mark.train
def test_judgements_count_edges_and_kernels(blocks: list[FusionSample]) -> None:
    """The oracle is right everywhere by definition; kernels of one operator each are wrong on exactly the fused edges, and recover only what stands alone."""

    class Nothing:
        def kernels(self, graph: OpGraph, channel_block: int) -> tuple[Kernel, ...]:
            return tuple(Kernel(op.index, rules.fuse(graph, channel_block)[0].type, (op.index,), op.index, (), (), 0, 0, 0, 0) for op in graph.operators)

    splits = {sample.family: 0 for sample in blocks}
    oracle = [row for row in unlearned(blocks, splits) if row.system == "runtime"]
    assert all(row.edges_right == row.edges and row.kernels_right == row.kernels for row in oracle)
    for sample in blocks[:4]:
        row = judged(sample, "nothing", 0, Nothing())
        assert row.edges - row.edges_right == sum(sample.truth.judged.values())
        assert row.kernels_right == sum(len(kernel) == 1 for kernel in sample.truth.kernels)


@pytest.mark.train
def test_rules_hold_on_random_networks_as_the_runtime_of_this_machine_fuses_them(blocks: list[FusionSample]) -> None:
    """Blocks that no published network combines like this: the rules still fuse nearly every edge as the runtime does."""
    edges = sum(len(sample.truth.judged) for sample in blocks)
    wrong = sum(len(sample.truth.disagreements(rules.fuse(sample.graph, sample.channel_block))) for sample in blocks)

    assert edges > 100
    assert wrong / edges < 0.03
    assert len(distinct([*blocks, *blocks])) == len(distinct(blocks))


@pytest.mark.train
def test_a_finished_unit_is_found_again(blocks: list[FusionSample], tmp_path: Path) -> None:
    """What one run judged the next one reads, curves and all; after a change of data or code it is fitted anew."""
    outcome = Outcome(Unit(tables.GAT_LSTM, 2), tuple(unlearned(blocks[:2], dict.fromkeys({block.family for block in blocks}, 2))), {"loss": [0.5, 0.25]}, 12.5)
    kept = fusions.Kept(Units(tmp_path), fusions.key_of("sha256:one"))
    kept.keep(outcome)

    assert kept.read(outcome.unit) == outcome
    assert kept.read(Unit(tables.GAT_MLP, 2)) is None
    assert fusions.Kept(Units(tmp_path), fusions.key_of("sha256:two")).read(outcome.unit) is None
