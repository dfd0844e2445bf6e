"""Registered models: the truth is ``model_version``; MLflow is told afterwards."""
