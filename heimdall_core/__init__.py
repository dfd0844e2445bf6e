"""Heimdall's training service: recordings in, a verified and registered ONNX model out."""
