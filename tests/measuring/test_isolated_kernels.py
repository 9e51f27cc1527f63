"""Isolated kernels: dealt by error times share of time, cut out of real networks, and the same kernel after any detour."""

import random

import onnx
import pytest
from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.fusion import rules
from stowplan_predictor.graphs import loading
from stowplan_predictor.training.campaigns import isolated_cuts, isolated_plans, isolated_weights
from stowplan_predictor.training.campaigns.isolated_cuts import Cut
from stowplan_predictor.training.generated import kinds as random_kinds
from stowplan_predictor.training.generated import single_kernels as isolated_specs
from stowplan_predictor.training.judgements.parts import KernelJudgement


def test_kernels_are_dealt_by_error_and_time() -> None:
    """What errs twice as much on as much time gets twice as many; nothing gets none, and nothing nearly all."""
    errors = {"Conv": (20.0, 10.0), "Gemm": (10.0, 10.0), "Wild": (3000.0, 0.001), "Huge": (50.0, 60.0)}
    weights = isolated_weights.from_errors({name: {"mape_percent": mape, "share_of_time_percent": share} for name, (mape, share) in errors.items()})
    counts = isolated_weights.dealt(weights, 2000)

    assert counts["Conv"] == pytest.approx(2 * counts["Gemm"], abs=1)
    assert counts["Wild"] == isolated_weights.LEAST
    assert counts["Huge"] == 400
    assert isolated_weights.dealt(weights, 2000, least=4)["Wild"] == 4
    with pytest.raises(ValueError, match="no weights"):
        isolated_weights.dealt({}, 10)


def _judged(kernel: tuple[str, int, str], predicted: float, measured: float | None, split: str = "zoo") -> KernelJudgement:
    network, position, kind = kernel
    return KernelJudgement("stowplan", split, network, "f", "cpu:1", 0, position, "", kind, predicted, measured)


def test_weights_of_judgements_are_misjudged_time() -> None:
    """Of published networks only, and only where something was measured; weights add up to the misjudged share of all time."""
    rows = [
        _judged(("a", 0, "Conv"), 3.0, 4.0),
        _judged(("a", 1, "Gemm"), 5.0, 6.0),
        _judged(("a", 2, "Gemm"), 5.0, None),
        _judged(("l", 0, "Conv"), 9.0, 1.0, "light"),
    ]
    types, kernels = isolated_weights.from_judgements(rows)

    assert types == pytest.approx({"Conv": 0.1, "Gemm": 0.1})
    assert kernels == pytest.approx({("a", 0): 1 / 4, ("a", 1): 1 / 6})


def _cuts(seed: int) -> list[Cut]:
    model = random_kinds.structure("cnn", seed)
    graph = loading.load_graph(model)
    return isolated_cuts.cuts(graph, rules.fuse(graph), isolated_cuts.known_values(onnx.load_model_from_string(model)), f"cnn-{seed}", "f")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cuts_are_one_kernel(seed: int) -> None:
    """A kernel on its own, and bent, is one kernel of the same type, of float results, before and after it was a line of JSON."""
    choose, alone, bent = random.Random(0), 0, 0
    for cut in _cuts(seed):
        if not isolated_cuts.is_alone(cut.spec):
            continue
        alone += 1
        text = isolated_specs.to_json(cut.spec)
        again = isolated_specs.from_json(text)
        assert isolated_specs.to_json(again) == text
        whole, stripped = again.blueprint().network(), isolated_specs.structure(text)
        onnx.checker.check_model(onnx.load_model_from_string(whole))
        assert loading.load_graph(whole).digest == loading.load_graph(stripped).digest
        changed = isolated_cuts.bent(cut.spec, choose)
        if changed is not None:
            bent += 1
            kernels = rules.fuse(loading.load_graph(changed.blueprint().structure()))
            assert [str(kernel.type) for kernel in kernels] == [cut.spec.kernel]
            assert kernels[0].parameter_bytes <= isolated_cuts.MOST_PARAMETER_BYTES
    assert alone >= 5
    assert bent >= 3


def test_a_plan_holds_no_graph_twice() -> None:
    """As many of each type as dealt where there are enough, types in turns, the same for the same round."""
    cuts = [cut for seed in (1, 2, 3) for cut in _cuts(seed)]
    counts = {"Conv": 4, "PointwiseConv": 4, "LRN": 3}
    specs = isolated_plans.chosen(cuts, counts, {}, seed=0)
    texts = [isolated_specs.to_json(spec) for spec in specs]

    assert len(set(texts)) == len(texts)
    assert sorted(spec.kernel for spec in specs) == ["Conv"] * 4 + ["PointwiseConv"] * 4
    assert [spec.kernel for spec in specs[:2]] == ["Conv", "PointwiseConv"]
    assert texts == [isolated_specs.to_json(spec) for spec in isolated_plans.chosen(cuts, counts, {}, seed=0)]


def test_foreign_specs_are_refused() -> None:
    """A specification of another version is named, not guessed at."""
    with pytest.raises(DatasetRefused, match="measure again"):
        isolated_specs.from_json('{"kernel": "Conv"}')
