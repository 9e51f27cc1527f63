"""What a predictor can be asked, whoever implements it: over gRPC (`clients`) or in the same process (the command line)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from stowplan_fleet.answers import Answer
from stowplan_fleet.devices import Device
from stowplan_fleet.questions import Question
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import DeviceName


@dataclass(frozen=True, slots=True)
class GraphSummary:
    """What the analysis of a model file found."""

    graph_digest: GraphDigest
    model_digest: str
    """`sha256:<hex>` of the file."""
    operators: int
    """After constant folding."""
    kernels: int
    flops: int
    parameters: int
    parameter_bytes: int


class Predictor(Protocol):
    """Answers questions about slices."""

    async def analyze(self, onnx_model: bytes, input_shapes: Mapping[str, tuple[int, ...]]) -> GraphSummary:
        """Analyses a model file and remembers its graph.

        Raises:
            GraphRefused: the file is broken, or holds what nobody can judge; the message says what and where.
            PredictorUnavailable: nobody answered.
        """

    async def predict(self, questions: Sequence[Question], devices: Mapping[DeviceName, Device], runtime: str) -> Sequence[Answer]:
        """One answer a question, in order; what cannot be judged is an unknown answer, not an exception.

        Raises:
            PredictorUnavailable: nobody answered.
        """


class Predictors(Predictor, Protocol):
    """Several of them behind one front; each remembers graphs for itself."""

    async def anywhere_forgotten(self, question: Question, devices: Mapping[DeviceName, Device], runtime: str) -> bool:
        """Whether one that answers does not know a graph of the question: it was started anew, or has come since. Who does not answer says nothing."""
