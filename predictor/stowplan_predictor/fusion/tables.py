"""Tables: what a bundle says about how its graphs are cut into kernels."""

from dataclasses import dataclass
from typing import Final

RULES: Final = "rules"
"""The runtime's own transformers, as `rules` re-tells them."""
OPERATORS: Final = "operators"
"""Nothing is fused: a runtime that runs one kernel for each operator (PyTorch without its compiler)."""
GAT_LSTM: Final = "gat-lstm"
"""Graph attention over operators, a recurrent network over the two ends of an edge."""
GAT_MLP: Final = "gat-mlp"
"""The same without the recurrent network: both ends side by side."""
RULES_GAT_LSTM: Final = "rules-gat-lstm"
"""`gat-lstm` that is also told what the rules say of an edge."""
LEARNED: Final = frozenset({GAT_LSTM, GAT_MLP, RULES_GAT_LSTM})
# Systems that look at what the rules say.
TOLD: Final = frozenset({RULES_GAT_LSTM})


@dataclass(frozen=True, slots=True)
class FusionTable:
    """Which fusion serves."""

    system: str
    """One of the names above."""
    file: str
    """ONNX file in the bundle: nodes (n, columns) float32, edges (2, m) int64, links (m, columns) float32 to logits (m,) float32.
    Empty where nothing is learned."""
    types: tuple[str, ...]
    """Operator types that have a column, in order. Empty where nothing is learned, as the next two."""
    operator_features: tuple[str, ...]
    """Must be `classifier_inputs.OPERATOR_FEATURES`."""
    edge_features: tuple[str, ...]
    """The columns of `classifier_inputs.EDGE_FEATURES` that it looks at."""

    @classmethod
    def rules(cls) -> "FusionTable":
        """Rules, and no file."""
        return cls(RULES, "", (), (), ())

    @classmethod
    def operators(cls) -> "FusionTable":
        """One kernel an operator, and no file."""
        return cls(OPERATORS, "", (), (), ())
