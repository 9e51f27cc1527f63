"""Models: from the URI a tenant wrote to the bytes of an ONNX file, trusting neither."""
