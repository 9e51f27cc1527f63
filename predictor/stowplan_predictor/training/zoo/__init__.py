"""Published networks: which ones, and how they become ONNX files."""
