"""Models that must not be certified, for the tests."""

from __future__ import annotations

import os
from typing import Any

import paddle


class Wrong(paddle.nn.Layer):
    """Adds something on the card only."""

    def forward(self, x: Any) -> Any:
        return x + 0.1 if "cpu" not in str(x.place).lower() else x


def differs() -> paddle.nn.Layer:
    return paddle.nn.Sequential(paddle.nn.Linear(8, 8), paddle.nn.ReLU(), Wrong(), paddle.nn.Linear(8, 4))


class Constant(paddle.nn.Layer):
    """Has a parameter and learns nothing from it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = paddle.nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        return self.linear(x) * 0.0


def learns_nothing() -> paddle.nn.Layer:
    return Constant()


class Ends(paddle.nn.Layer):
    def forward(self, x: Any) -> Any:
        os._exit(7)


def ends() -> paddle.nn.Layer:
    return Ends()


def good() -> paddle.nn.Layer:
    return paddle.nn.Sequential(paddle.nn.Linear(8, 16), paddle.nn.Tanh(), paddle.nn.Linear(16, 4))
