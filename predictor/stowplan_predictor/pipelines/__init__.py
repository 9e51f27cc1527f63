"""ONNX file to answer, every stage: `analyses` (graphs by digest, cut as `cuts` say), `isolations` (networks alone, by place), `answering` (many questions,
cached), `explanations`. `judges`: who answers for a runtime's devices; of CPUs `cpu_judges` with `cpu_runs` (alone) and `judgements` (beside others).
"""

from stowplan_predictor.pipelines.answering import Pipeline
from stowplan_predictor.pipelines.explanations import KernelShare

__all__ = ["KernelShare", "Pipeline"]
