"""Sample sets that were disturbed are taken again, and what stays disturbed is marked. The worker here is scripted: it tells how disturbed it was."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from stowplan_fleet.slices import parse_slice
from stowplan_predictor.measuring import networks
from stowplan_predictor.measuring.distributions import describe
from stowplan_predictor.measuring.references import Reference

_BEST = Reference(product_ms=2.0, copy_ms=10.0)
_QUIET = (2.0, 10.0)


class _Scripted:
    """Answers `sample` and `look` from lists; the last answer repeats."""

    def __init__(self, samples: list[dict[str, Any]], looks: list[tuple[float, float]]) -> None:
        self._samples, self._looks = iter(samples), iter(looks)
        self.asked: list[str] = []
        self._last: dict[str, Any] = {}

    def ask(self, command: str, **_arguments: Any) -> dict[str, Any]:
        self.asked.append(command)
        if command == "look":
            product_ms, copy_ms = self._next("look", self._looks)
            return {"product_ms": product_ms, "copy_ms": copy_ms}
        return dict(self._next("sample", self._samples))

    def _next(self, kind: str, answers: Iterator[Any]) -> Any:
        self._last[kind] = next(answers, self._last.get(kind))
        return self._last[kind]


def _set(durations: list[float], foreign: float = 0.0, steal: float = 0.0) -> dict[str, Any]:
    return {"distribution": asdict(describe(durations)), "foreign_share": foreign, "steal_share": steal, "own_s": 1.0}


_STEADY = [10.0] * 30
_UNSTEADY = [10.0, 20.0] * 15


def _sampled(
    samples: list[dict[str, Any]], looks: list[tuple[float, float]], part: str = "cpu:1", best: Reference | None = _BEST
) -> tuple[Any, int, bool, int]:
    worker = _Scripted(samples, looks)
    taken, attempts, noisy = networks.sampled(worker, parse_slice(part), networks.SampleRules(), best)  # type: ignore[arg-type]
    return taken, attempts, noisy, worker.asked.count("look")


def test_a_quiet_set_is_kept_at_once() -> None:
    """One attempt, with the machine looked at before and after."""
    taken, attempts, noisy, looks = _sampled([_set(_STEADY)], [_QUIET])

    assert (attempts, noisy, looks) == (1, False, 2)
    assert taken["product_slowdown"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "disturbed",
    [_set(_STEADY, foreign=0.03), _set(_STEADY, steal=0.03), _set(_UNSTEADY)],
    ids=["foreign", "steal", "variation"],
)
def test_a_disturbed_set_is_taken_again(disturbed: dict[str, Any]) -> None:
    """Foreign load, steal and variation each cost an attempt."""
    taken, attempts, noisy, _ = _sampled([disturbed, _set(_STEADY)], [_QUIET])

    assert (attempts, noisy) == (2, False)
    assert taken["foreign_share"] == 0.0


@pytest.mark.parametrize("slow", [(4.0, 10.0), (2.0, 20.0)], ids=["product", "copy"])
def test_a_set_beside_a_slow_machine_is_taken_again(slow: tuple[float, float]) -> None:
    """What no clock counts shows in the reference: slow after the first set is slow before the second, so the third counts."""
    _, attempts, noisy, _ = _sampled([_set(_STEADY)], [_QUIET, slow, _QUIET, _QUIET])

    assert (attempts, noisy) == (3, False)


def test_what_stays_disturbed_is_kept_and_marked() -> None:
    """After five attempts the least disturbed set is the record, marked as noisy."""
    shares = [0.09, 0.05, 0.03, 0.07, 0.08]
    taken, attempts, noisy, _ = _sampled([_set(_STEADY, foreign=share) for share in shares], [_QUIET])

    assert (attempts, noisy) == (5, True)
    assert taken["foreign_share"] == 0.03


def test_a_fractional_slice_may_vary() -> None:
    """Throttling is its nature; foreign load is not."""
    assert _sampled([_set(_UNSTEADY)], [], "cpu:500m", None)[1:3] == (1, False)
    assert _sampled([_set(_UNSTEADY, foreign=0.5)], [], "cpu:500m", None)[1:3] == (5, True)


def test_without_a_reference_nothing_is_looked_at() -> None:
    """A user who measures one network need not calibrate the machine first; the record says that nobody looked."""
    taken, _, _, looks = _sampled([_set(_STEADY)], [], best=None)

    assert looks == 0
    assert taken["product_slowdown"] is None
