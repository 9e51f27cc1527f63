"""ONNX file to answer, every stage: `analyses` (graphs by digest), `judgements` (one question), `answering` (many, cached), `explanations`."""

from stowplan_predictor.pipelines.answering import Pipeline
from stowplan_predictor.pipelines.explanations import KernelShare

__all__ = ["KernelShare", "Pipeline"]
