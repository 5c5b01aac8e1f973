"""The model library: names, builders, tasks and sample data of models that OpenXPU certifies.

Nothing here imports Paddle before a model is built."""

from openxpu.models.registry import SMOKE, Model, find, models

__all__ = ["SMOKE", "Model", "find", "models"]
