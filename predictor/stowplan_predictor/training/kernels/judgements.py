"""Kernels judged by models that did not learn from their families: how long each takes, and what the runtime runs for it."""

from collections.abc import Iterator, Sequence

import numpy as np

from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.kernels.regressors import Efficiencies
from stowplan_predictor.training.data.samples import Sample
from stowplan_predictor.training.judgements.parts import KernelJudgement, TypeJudgement
from stowplan_predictor.training.kernels.models import FittedKernels

# The slice whose features the classifier sees; what the runtime runs does not depend on it.
_SLICE = "cpu:1"


def type_judgements(fitted: FittedKernels, test: Sequence[Sample], fold: int, system: str) -> Iterator[TypeJudgement]:
    """How often the type of a kernel was named, one row a network with a profile; networks that cannot be judged name none."""
    for sample in test:
        known = [index for index, name in enumerate(sample.runtime_types) if name]
        if not known:
            continue
        try:
            answers = fitted.estimator.runtime_types(sample.work, sample.measured[_SLICE].slice_)
        except CannotJudge:
            answers = [() for _ in sample.work.types]
        first = sum(answers[index][:1] == (sample.runtime_types[index],) for index in known)
        five = sum(sample.runtime_types[index] in answers[index] for index in known)
        yield TypeJudgement(system, sample.split, sample.name, sample.family, fold, len(known), first, five)


def kernel_judgements(sample: Sample, slice_: str, efficiencies: Efficiencies, fold: int, system: str) -> Iterator[KernelJudgement]:
    """Every kernel of a network on a slice, predicted and profiled."""
    measured = sample.measured[slice_]
    predicted = measured.roofline_ms * np.exp(efficiencies.log_ratio)
    for index, (name, kind, ms) in enumerate(zip(sample.work.names, sample.work.types, predicted, strict=True)):
        seen = None if measured.kernel_ms is None or not measured.kernel_ms[index] > 0 else float(measured.kernel_ms[index])
        yield KernelJudgement(system, sample.split, sample.name, sample.family, slice_, fold, index, name, str(kind), float(ms), seen)
