"""Ladders: every candidate with the fewest replicas that would do, cheapest first."""

from collections.abc import Sequence
from typing import Final

from stowplan_fleet.answers import Answer
from stowplan_fleet.questions import Question, occupant
from stowplan_fleet.services import Service

from stowplan_operator.sizing import rungs
from stowplan_operator.sizing.candidates import Candidate
from stowplan_operator.sizing.rungs import Rung

# Questions in one call: an answer takes about 200 bytes and some microseconds. Beyond that replica counts are thinned out, so that a count may be
# up to one step too large; eight sizes of one CPU with 500 replica counts each are still asked one by one.
QUESTIONS_MAX: Final = 4096


def questions_for(service: Service, candidates: Sequence[Candidate]) -> tuple[Question, ...]:
    """What to ask the predictor: for each candidate each replica count, in the order in which `ladder` takes the answers.

    The slices are asked for without tenants: whether a neighbour fits is decided node by node, when a pod is placed.

    Raises:
        ValueError: the service's model was not analysed yet.
    """
    counts = replica_counts(service, len(candidates))
    return tuple(
        Question(subject=occupant(service, candidate.slice_class, count), percentile=service.slo.percentile) for candidate in candidates for count in counts
    )


def ladder(service: Service, candidates: Sequence[Candidate], answers: Sequence[Answer]) -> tuple[Rung, ...]:
    """A rung for each candidate, in order of preference: the fewest replicas that are allowed, or else the most there may be, with the reason why not.

    Args:
        service: whose.
        candidates: as in `questions_for`.
        answers: to `questions_for`, in its order.

    Raises:
        ValueError: the answers are not those to the questions, or the predictor does not know the graph.
    """
    counts = replica_counts(service, len(candidates))
    if len(answers) != len(counts) * len(candidates):
        raise ValueError(f"{len(answers)} answers to {len(counts) * len(candidates)} questions about {service.name}")
    found = []
    for index, candidate in enumerate(candidates):
        of_candidate = answers[index * len(counts) : (index + 1) * len(counts)]
        judged = [rungs.judge(service, candidate, count, answer) for count, answer in zip(counts, of_candidate, strict=True)]
        meeting = next((rung for rung in judged if rung.meets_slo), None)
        found.append(meeting or next((rung for rung in judged if rung.allowed), judged[-1]))
    return tuple(sorted(found, key=lambda rung: rung.rank))


def replica_counts(service: Service, candidates: int) -> tuple[int, ...]:
    """The replica counts to ask for, ascending: all from the least to the most, or evenly thinned out where that were too many questions."""
    low, high = service.replicas_min, service.replicas_max
    room = max(2, QUESTIONS_MAX // max(1, candidates))
    step = -(-(high - low + 1) // room)
    return (*range(low, high, step), high)
