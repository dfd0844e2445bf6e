"""The HTTP API. It never imports torch, lightning, mlflow, onnx or onnxruntime."""
