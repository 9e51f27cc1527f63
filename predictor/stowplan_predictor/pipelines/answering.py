"""The whole predictor in one object: analyse, predict, explain. Synchronous and thread-safe; gRPC and the command line stand before it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from stowplan_fleet.answers import Answer, UnknownReason, unknown
from stowplan_fleet.devices import Device
from stowplan_fleet.predictors import GraphSummary
from stowplan_fleet.questions import Occupant, Question
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import DeviceName, SliceClass

from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.pipelines.analyses import Analyses, reading_here
from stowplan_predictor.pipelines.caches import CacheLimits, LruCache
from stowplan_predictor.pipelines.explanations import KernelShare, kernel_shares
from stowplan_predictor.pipelines.isolations import Isolations, Place
from stowplan_predictor.pipelines.judges import AnyBundle, Run, judge_of

# A question that needs work, its position and its device as the judge named it.
_Open = tuple[int, Question, Any]
# What an answer, its question and their place in the cache take, texts and tenants apart (measured: 1.2 kB).
_ANSWER_BYTES: Final = 1300
_TENANT_BYTES: Final = 500


def _answer_bytes(key: tuple[Question, Any], answer: Answer) -> int:
    return _ANSWER_BYTES + len(answer.message) + len(key[0].tenants) * _TENANT_BYTES


class Pipeline:
    """Every stage of one bundle, with everything it ever computed kept by content."""

    def __init__(self, bundle: AnyBundle, analyses: Analyses | None = None, caches: CacheLimits | None = None) -> None:
        """Nothing is known yet.

        Args:
            bundle: who judges.
            analyses: of graphs, shared with other pipelines and cut by this bundle's fusion too; when None, of its own, read in this process.
            caches: memory that may be filled; the defaults when None.
        """
        self.bundle = bundle
        self.judge = judge_of(bundle)
        limits = caches or CacheLimits()
        # Not `analyses or`: an empty memory of graphs is false, and each pipeline would read files on its own, in this process.
        self._analyses = Analyses(reading_here([bundle.fusion]), limits.graphs_bytes) if analyses is None else analyses
        self._isolations = Isolations(self.judge, self._analyses, limits.isolations_bytes)
        self._answers: LruCache[tuple[Question, Any], Answer] = LruCache(limits.answers_bytes, _answer_bytes)

    def analyze(self, onnx_model: bytes | memoryview, input_shapes: Mapping[str, tuple[int, ...]]) -> GraphSummary:
        """Reads a model file, binds its dynamic dimensions and remembers its kernels.

        Raises:
            GraphRefused: the file is broken, or holds what nobody can judge; the message says what and where.
        """
        return self._analyses.analyze(onnx_model, input_shapes)

    def predict(self, questions: Sequence[Question], devices: Mapping[DeviceName, Device], runtime: str) -> list[Answer]:
        """One answer a question, in order; what cannot be judged is an unknown answer with its reason, never an exception."""
        answers, open_questions = self._remembered(questions, devices, runtime)
        if open_questions:
            answers.update(self._answer(open_questions))
        return [answers[index] for index in range(len(questions))]

    def recall(self, questions: Sequence[Question], devices: Mapping[DeviceName, Device], runtime: str) -> list[Answer] | None:
        """What `predict` would say where nothing has to be computed for it, else None: a fraction of a millisecond for a few questions."""
        answers, open_questions = self._remembered(questions, devices, runtime)
        return None if open_questions else [answers[index] for index in range(len(questions))]

    def _remembered(self, questions: Sequence[Question], devices: Mapping[DeviceName, Device], runtime: str) -> tuple[dict[int, Answer], list[_Open]]:
        """Answers that need no work, by position, and the questions that do."""
        label = self.bundle.label
        if runtime != self.bundle.manifest.runtime:
            message = f"runtime {runtime[:64]!r}: this bundle judges {self.bundle.manifest.runtime}"
            return dict(enumerate([unknown(UnknownReason.RUNTIME_NOT_SUPPORTED, message, label)] * len(questions))), []
        answers: dict[int, Answer] = {}
        open_questions: list[_Open] = []
        for index, question in enumerate(questions):
            try:
                device = self.judge.device(question.subject.slice_class, devices)
            except CannotJudge as error:
                answers[index] = unknown(error.reason, error.message, label)
                continue
            # Tenants are on the subject's device, or the question is refused: one descriptor decides the whole answer.
            cached = self._answers.get((question, device))
            if cached is not None:
                answers[index] = cached
            else:
                open_questions.append((index, question, device))
        return answers, open_questions

    def explain(self, graph_digest: GraphDigest, slice_class: SliceClass, devices: Mapping[DeviceName, Device]) -> list[KernelShare]:
        """The kernels of a graph on a slice, longest first.

        Raises:
            CannotJudge: no honest number exists; carries the reason an unknown answer would name.
        """
        device = self.judge.device(slice_class, devices)
        place = (graph_digest, slice_class, device)
        outcome = self._isolations.prepare([place])[place]
        if isinstance(outcome, CannotJudge):
            raise CannotJudge(outcome.reason, outcome.message)
        return kernel_shares(self._analyses.work(graph_digest, self.judge.cut(device)), outcome.isolated)

    @property
    def cache_entries(self) -> dict[str, int]:
        """How much is remembered, by kind."""
        return {"graphs": len(self._analyses), "isolations": len(self._isolations), "answers": len(self._answers)}

    @property
    def cache_bytes(self) -> dict[str, int]:
        """About how much memory that takes, by kind."""
        return {"graphs": self._analyses.bytes, "isolations": self._isolations.bytes, "answers": self._answers.bytes}

    def _answer(self, open_questions: Sequence[_Open]) -> dict[int, Answer]:
        places = [
            (occupant.graph_digest, occupant.slice_class, device)
            for _, question, device in open_questions
            for occupant in (question.subject, *question.tenants)
            if isinstance(occupant, Occupant) and occupant.slice_class.device == question.subject.slice_class.device
        ]
        runs = self._isolations.prepare(places)
        answers = {}
        for asked in open_questions:
            index, question, device = asked
            answers[index] = answer = self._answer_to(asked, runs)
            if answer.unknown_reason is not UnknownReason.GRAPH_NOT_FOUND:
                self._answers.put((question, device), answer)
        return answers

    def _answer_to(self, asked: _Open, runs: Mapping[Place, Run | CannotJudge]) -> Answer:
        _, question, device = asked

        def run_of(occupant: Occupant) -> Run:
            outcome = runs[(occupant.graph_digest, occupant.slice_class, device)]
            if isinstance(outcome, CannotJudge):
                raise CannotJudge(outcome.reason, outcome.message)
            return outcome

        try:
            return self.judge.judge(question, run_of)
        except CannotJudge as error:
            return unknown(error.reason, error.message, self.bundle.label)
