"""The trained network as a verified ONNX file that describes itself."""
