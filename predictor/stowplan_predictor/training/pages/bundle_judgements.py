"""Any bundle judged on any data set through the pipeline that serves: what `stowplan evaluate --bundle` shows.

A bundle that was trained on a network remembers it. Its manifest names the graphs it learned from, so networks it knows and networks it never saw are judged
apart; where a manifest does not say, nothing is claimed.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from stowplan_fleet import descriptors
from stowplan_fleet.devices import CpuDevice
from stowplan_fleet.errors import GraphRefused
from stowplan_fleet.questions import Occupant, Question
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import SliceClass, parse_slice

from stowplan_predictor.bundles.loading import Bundle
from stowplan_predictor.measuring import structures
from stowplan_predictor.pipelines import Pipeline
from stowplan_predictor.training.data.datasets import Dataset, read_dataset, read_splits
from stowplan_predictor.training.generated import kinds as random_kinds
from stowplan_predictor.training.judgements.predictions import PredictionRow
from stowplan_predictor.training.pages.figures import Figure, figure, groups
from stowplan_predictor.training.pages.sources import SPLITS_FILE
from stowplan_predictor.training.pages.truths import Case, Truth, truths

SPLITS: Final = ("zoo", "light", "fnn", "cnn", "random")
# Hexadecimal digits of a graph's digest that a manifest keeps: enough for a hundred thousand graphs.
DIGITS: Final = 12


class Acquaintance(StrEnum):
    """What a bundle knows of a network."""

    TRAINED = "trained on"
    """The network is one that the bundle learned from: its figures are of memory, not of prediction."""
    NEVER_SEEN = "never seen"
    UNKNOWN = "not told whether trained on"
    """The manifest does not name what it learned from."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One network on one slice."""

    truth: Truth
    row: PredictionRow
    acquaintance: Acquaintance


@dataclass(frozen=True, slots=True)
class BundleJudgement:
    """A bundle on a data set."""

    label: str
    device: str
    cases: tuple[Judged, ...]
    figures: tuple[tuple[Acquaintance, Figure], ...]

    def count(self, acquaintance: Acquaintance) -> int:
        """Networks that the bundle knows in that way."""
        return len({item.truth.network for item in self.cases if item.acquaintance is acquaintance})


def trained_graphs(provenance: Mapping[str, Any]) -> frozenset[str] | None:
    """First digits of the digests of the graphs a bundle learned from; None where its manifest does not say."""
    told = provenance.get("trained_on")
    if not isinstance(told, Mapping):
        return None
    return frozenset(str(graph) for device in told.values() for graph in device.get("graphs", ()))


def _models(dataset: Dataset, wanted: Collection[str]) -> Iterator[tuple[str, bytes, dict[str, tuple[int, ...]]]]:
    """Name, structure and input shapes of networks; random ones are drawn again."""
    seeds = {row.network: (row.kind, row.seed) for row in dataset.randoms}
    for name in wanted:
        if name in dataset.structures:
            row = dataset.structures[name]
            yield name, structures.unpack(row.structure), dict(zip(row.input_names, row.input_shapes, strict=True))
        else:
            yield name, random_kinds.structure(*seeds[name]), {}


def _prediction(pipeline: Pipeline, truth: Truth, graph: GraphDigest, device: CpuDevice) -> PredictionRow:
    asked = Question(Occupant(graph, SliceClass(device.name, parse_slice(truth.slice)), requests_per_second=0.0))
    answer = pipeline.predict([asked], {device.name: device}, pipeline.bundle.manifest.runtime)[0]
    label = pipeline.bundle.manifest.name
    if answer.isolated is None or answer.unknown_reason is not None:
        return PredictionRow(
            label, truth.split, truth.network, truth.family, truth.slice, truth.fold, None, reason=f"{answer.unknown_reason}: {answer.message}"
        )  # fmt: skip
    alone = answer.isolated
    return PredictionRow(label, truth.split, truth.network, truth.family, truth.slice, truth.fold, alone.median_ms, alone.lower_ms, alone.upper_ms)


def _acquaintance(graph: GraphDigest, known: frozenset[str] | None) -> Acquaintance:
    if known is None:
        return Acquaintance.UNKNOWN
    return Acquaintance.TRAINED if str(graph).removeprefix("sha256:")[:DIGITS] in known else Acquaintance.NEVER_SEEN


def _figures(cases: list[Judged], label: str) -> Iterator[tuple[Acquaintance, Figure]]:
    for acquaintance in Acquaintance:
        own: dict[Case, Judged] = {item.truth.case: item for item in cases if item.acquaintance is acquaintance}
        some = {case: item.truth for case, item in own.items()}
        rows = {case: item.row for case, item in own.items()}
        for group in groups(some, SPLITS):
            found = figure(replace(group, title=f"{group.title}, {acquaintance}"), label, group.of(some), rows)
            if found is not None:
                yield acquaintance, found


def judge_bundle(bundle: Bundle, folder: Path, splits: tuple[str, ...], advance: Callable[[str, int], None]) -> BundleJudgement:
    """Asks a bundle about every network of some splits, on every slice it was measured on.

    Args:
        bundle: who is judged.
        folder: `datasets/<device>`; `splits.json` lies beside it.
        splits: some of `SPLITS`.
        advance: told each network's name and how many there are in all.

    Raises:
        DatasetRefused: the data set cannot be read.
    """
    dataset = read_dataset(folder)
    device = descriptors.read_device((folder / "device.json").read_bytes())
    measured = [truth for truth in truths(dataset, read_splits(folder.parent / SPLITS_FILE)).values() if truth.split in splits]
    wanted = dict.fromkeys(truth.network for truth in measured)
    known = trained_graphs(bundle.manifest.provenance)
    pipeline = Pipeline(bundle)
    cases = []
    for name, model, shapes in _models(dataset, wanted):
        advance(name, len(wanted))
        own = [truth for truth in measured if truth.network == name]
        try:
            graph = pipeline.analyze(model, shapes).graph_digest
        except GraphRefused as error:
            refused = [PredictionRow(bundle.manifest.name, t.split, t.network, t.family, t.slice, t.fold, None, reason=str(error)) for t in own]
            cases += [Judged(truth, row, Acquaintance.UNKNOWN) for truth, row in zip(own, refused, strict=True)]
            continue
        cases += [Judged(truth, _prediction(pipeline, truth, graph, device), _acquaintance(graph, known)) for truth in own]
    return BundleJudgement(bundle.label, folder.name, tuple(cases), tuple(_figures(cases, bundle.manifest.name)))
