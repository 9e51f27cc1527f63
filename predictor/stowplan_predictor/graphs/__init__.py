"""ONNX files to operator graphs: `opgraphs` (the values), `loading` (files to graphs), `limits`, `walks`, `shapes`, `costs` (FLOPs and bytes)."""
