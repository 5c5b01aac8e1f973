"""Forecasting models: 96 steps of seven variables to the next 24."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from openxpu.models.registry import Batch, Data, Model

PAST, FUTURE, VARIABLES = 96, 24, 7
NAMES = """ts-lstm ts-gru deepar tcn lstnet scinet linear dlinear nlinear rlinear n-beats-generic n-beats-interpretable n-hits tide
    tsmixer lightts patchtst itransformer ts-transformer informer autoformer timesnet crossformer"""


def build(name: str) -> Any:
    from openxpu.models.series_layers import builders

    return builders()[name]()


def make(batch: int, seed: int) -> Batch:
    """Daily and half-daily waves with a trend and noise: past [batch, 96, 7] and future [batch, 24, 7] f32."""
    rng = np.random.default_rng(seed)
    at = np.arange(PAST + FUTURE)[:, None]
    phase, height = (
        rng.uniform(0, 6.3, (2, batch, 1, VARIABLES)),
        rng.uniform(0.5, 1.5, (2, batch, 1, VARIABLES)),
    )
    slope = rng.normal(0, 0.01, (batch, 1, VARIABLES))
    series = sum(height[i] * np.sin(at * np.pi / (12 >> i) + phase[i]) for i in range(2)) + slope * at
    series = (series + rng.normal(0, 0.1, series.shape)).astype(np.float32)
    return {"past": series[:, :PAST], "future": series[:, PAST:]}


def _loss(outputs: Any, batch: Batch) -> Any:
    return ((outputs.astype("float32") - batch["future"]) ** 2).mean()


def _likelihood(outputs: Any, batch: Batch) -> Any:
    """DeepAR: the negative log-likelihood of each next step, and of the first one of the future."""
    import paddle

    mean, scale = paddle.chunk(outputs.astype("float32"), 2, -1)
    following = paddle.concat([batch["past"][:, 1:], batch["future"][:, :1]], 1)
    return (scale.log() + ((following - mean) / scale) ** 2 / 2).mean()


def models() -> list[Model]:
    found = []
    for name in NAMES.split():
        data = Data(make, ("past",), _likelihood if name == "deepar" else _loss, {"past": (0,)})
        found.append(
            Model(name, "time-series", "OpenXPU", functools.partial(build, name), data, learning_rate=2e-2)
        )
    return found
