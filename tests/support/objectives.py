"""Objectives placed around predictions, so that a test holds for any predictor that orders its scenes rightly."""

import math

from stowplan_fleet.answers import Answer


def upper_ms(answer: Answer) -> float:
    """The number that is held against an objective."""
    assert answer.response is not None, f"no prediction to place an objective by: {answer}"
    return answer.response.upper_ms


def between(low_ms: float, high_ms: float) -> int:
    """A whole number of milliseconds that the lower prediction keeps and the higher one breaks, about equally far from both."""
    objective = round(math.sqrt(low_ms * high_ms))
    assert low_ms < objective < high_ms, f"no objective tells {low_ms} ms from {high_ms} ms"
    return objective
