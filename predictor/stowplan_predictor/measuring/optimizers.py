"""What the runtime makes of a network on this CPU: its optimised graph, without weights. Independent of threads, and not timed."""

import tempfile
from pathlib import Path
from typing import Final

import onnxruntime

from stowplan_predictor.errors import RuntimeRefused
from stowplan_predictor.measuring import structures

_LOG_ERRORS_ONLY: Final = 3


def optimized_structure(path: Path) -> bytes:
    """The stripped optimised model.

    Raises:
        RuntimeRefused: the runtime cannot load the network.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = _LOG_ERRORS_ONLY
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(written)
        try:
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's own exceptions share no base class
            raise RuntimeRefused(f"ONNX Runtime {onnxruntime.__version__} cannot run it: {str(error)[:500]}") from error
        return structures.strip_weights(written.read_bytes())
