"""ONNX files to operator graphs: `opgraphs` (the values), `loading` (files to graphs), `shapes`, `costs` (FLOPs and bytes)."""
