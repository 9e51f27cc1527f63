"""Kernel models crossed with folds: every network judged, kernel by kernel, by a model that saw no network of its family.

One unit is one kernel system on one fold; it is fitted once, kept as an array file, and shared by whoever needs it: the choice of the served system, the
calibration of intervals, and the predictions of the accuracy table.
"""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from typing import Final

import numpy as np

from stowplan_predictor.kernels.regressors import Efficiencies
from stowplan_predictor.training.data.folds import Fold
from stowplan_predictor.training.judgements.parts import TypeJudgement
from stowplan_predictor.training.networks.cases import Case, KernelModel, case

_COLUMNS: Final = tuple(item.name for item in fields(Efficiencies))


def judged_by(model: KernelModel, fold: Fold) -> list[Case]:
    """Kernel predictions for every test network of a fold on every slice it met."""
    return [case(sample, name, fold.number, model) for sample in fold.test for name in sample.measured]


def encode(cases: Sequence[Case], types: Sequence[TypeJudgement] = ()) -> bytes:
    """Cases as a NumPy archive: one row a case, kernels of all cases end to end; and how often the kernels' types were named, where the model names them."""
    known = [item.efficiencies for item in cases if item.efficiencies is not None]
    columns = {name: np.concatenate([getattr(item, name) for item in known]) if known else np.zeros(0) for name in _COLUMNS}
    held = io.BytesIO()
    np.savez_compressed(
        held,
        allow_pickle=False,
        network=np.array([item.sample.name for item in cases], dtype=np.str_),
        slice=np.array([item.slice for item in cases], dtype=np.str_),
        refusal=np.array([item.refusal for item in cases], dtype=np.str_),
        count=np.array([-1 if item.efficiencies is None else len(item.efficiencies.log_ratio) for item in cases], dtype=np.int64),
        types=np.array(json.dumps([asdict(item) for item in types])),
        **columns,
    )
    return held.getvalue()


def decode_types(content: bytes) -> list[TypeJudgement]:
    """How often a unit's model named the types of kernels, one row a network."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return [TypeJudgement(**item) for item in json.loads(str(archive["types"]))]


def decode(content: bytes, fold: Fold) -> list[Case]:
    """The cases of a unit, joined with the samples of its fold.

    Raises:
        ValueError: the archive is damaged, or speaks of other networks.
    """
    by_name = {sample.name: sample for sample in fold.test}
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        columns = {name: archive[name] for name in _COLUMNS}
        rows = list(zip(archive["network"].tolist(), archive["slice"].tolist(), archive["refusal"].tolist(), archive["count"].tolist(), strict=True))
    found, start = [], 0
    for network, name, refusal, count in rows:
        sample = by_name.get(network)
        if sample is None or (count >= 0 and count != len(sample.work.types)):
            raise ValueError(f"unit of fold {fold.number}: {network} is not the network that it was fitted for; delete the work folder")
        efficiencies = None
        if count >= 0:
            efficiencies = Efficiencies(**{key: column[start : start + count] for key, column in columns.items()})
            start += count
        found.append(Case(sample, name, fold.number, efficiencies, refusal))
    return found


def blended(parts: Sequence[Sequence[Case]], blend: Callable[[Sequence[Efficiencies]], Efficiencies]) -> list[Case]:
    """Cases of a blend from the cases of its members, in the members' order; what one member cannot judge, the blend cannot."""
    found = []
    for same in zip(*parts, strict=True):
        members = [item.efficiencies for item in same if item.efficiencies is not None]
        refusal = next((item.refusal for item in same if item.refusal), "")
        first = same[0]
        found.append(Case(first.sample, first.slice, first.fold, blend(members) if len(members) == len(same) else None, refusal))
    return found
