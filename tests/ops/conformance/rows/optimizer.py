# Optimizer steps: parameters and their states after one step, in the memory that they had.
from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import paddle
from conformance.draw import Input, constant, normal, uniform
from conformance.row import Row, row
from paddle import _C_ops as ops

SIZES = [(3, 5), (7, 33), (1,), (33, 65), (20011,)]
RATE = Input(constant(0.1), "f32")
POWER = Input(constant(0.81), "f32")
STATE = Input(uniform(0.05, 1), "f32")
PLAIN = ("f32", "f64")


def step(kernel: str, call: Any, *inputs: Any, powers: int = 0, **more: Any) -> list[Row]:
    """Rows for a parameter with states of its own dtype (f32, f64), and for one of 16 bits with master weights in f32.

    The call gets (param, grad, learning rate, states..., powers..., master or None); a reference in f64 starts from the
    master weights."""

    def shapes(s: Any) -> Any:
        return (s, s, (1,), *((s,) * (len(inputs) - powers)), *(((1,),) * powers))

    def with_master(param: Any, *rest: Any, **attrs: Any) -> Any:
        *rest, master = rest
        narrow = param.dtype in (paddle.float16, paddle.bfloat16)
        outputs = call(param if narrow else master, *rest, master if narrow else None, **attrs)
        return outputs

    plain = [replace(given, dtype=None) for given in (RATE, *inputs)]
    more = {
        "layouts": (),
        "extremes": "",
        "static": "optimizers of programs are tested in tests/models",
        **more,
    }
    return [
        row(kernel, lambda *t, **a: call(*t, None, **a), normal, normal, *plain, dtypes=PLAIN, shapes=[shapes(s) for s in SIZES], **more),
        row(kernel, with_master, normal, normal, RATE, *inputs, Input(normal, "f32"), name=f"{kernel}_master", dtypes=("f16", "bf16"), shapes=[(*shapes(s), s) for s in SIZES], **more),
    ]  # fmt: skip


def sgd(p, g, lr, master):
    ops.sgd_(p, lr, g, master, master is not None)
    return p


def momentum(p, g, lr, velocity, master, mu=0.9, nesterov=False, decay=0.0):
    ops.momentum_(
        p, g, velocity, lr, master, mu, nesterov, "l2_decay" if decay else "", decay, master is not None, 1.0
    )
    return p, velocity


def merged_momentum(p, g, lr, velocity, master, nesterov=False):
    ops.merged_momentum_(
        [p],
        [g],
        [velocity],
        [lr],
        None if master is None else [master],
        0.9,
        nesterov,
        [""],
        [0.0],
        master is not None,
        1.0,
    )
    return p, velocity


def adam(p, g, lr, m1, m2, b1, b2, master, amsgrad=False):
    ops.adam_(
        p,
        g,
        lr,
        m1,
        m2,
        None,
        b1,
        b2,
        master,
        None,
        0.9,
        0.99,
        1e-6,
        False,
        1000,
        master is not None,
        False,
        False,
    )
    return p, m1, m2, b1, b2


def adamw(p, g, lr, m1, m2, b1, b2, master, decay=True):
    ops.adamw_(
        p,
        g,
        lr,
        m1,
        m2,
        None,
        b1,
        b2,
        master,
        None,
        0.9,
        0.99,
        1e-6,
        1.0,
        0.02,
        decay,
        False,
        1000,
        master is not None,
        False,
        False,
    )
    return p, m1, m2, b1, b2


def merged_adam(p, g, lr, m1, m2, b1, b2, master):
    ops.merged_adam_(
        [p],
        [g],
        [lr],
        [m1],
        [m2],
        None,
        [b1],
        [b2],
        None if master is None else [master],
        0.9,
        0.99,
        1e-6,
        master is not None,
        False,
        False,
    )
    return p, m1, m2, b1, b2


def rmsprop(p, g, lr, square, moment, mean, master, centered=False, mu=0.0):
    ops.rmsprop_(
        p,
        square,
        g,
        moment,
        lr,
        mean if centered else None,
        master,
        1e-6,
        0.9,
        mu,
        centered,
        master is not None,
    )
    return p, square, moment


def adagrad(p, g, lr, moment, master):
    ops.adagrad_(p, g, moment, lr, master, 1e-6, master is not None)
    return p, moment


def adamax(p, g, lr, moment, norm, b1, master):
    ops.adamax_(p, g, lr, moment, norm, b1, master, 0.9, 0.99, 1e-6, master is not None)
    return p, moment, norm


def adadelta(p, g, lr, square, update, master):
    ops.adadelta_(p, g, square, update, lr, master, 0.9, 1e-6, master is not None)
    return p, square, update


def clipped(x, max_norm):
    return x * min(1.0, max_norm / max(np.sqrt((x * x).sum()), 1e-300))


ROWS = [
    *step("sgd", sgd),
    *step("momentum", momentum, STATE, attrs=[{}, {"nesterov": True}, {"decay": 0.01}]),
    *step("merged_momentum", merged_momentum, STATE, attrs=[{}, {"nesterov": True}]),
    *step("adam", adam, STATE, STATE, POWER, POWER, powers=2),
    *step("adamw", adamw, STATE, STATE, POWER, POWER, powers=2, attrs=[{}, {"decay": False}]),
    *step("merged_adam", merged_adam, STATE, STATE, POWER, POWER, powers=2),
    *step("rmsprop", rmsprop, STATE, STATE, STATE, attrs=[{}, {"mu": 0.5}]),
    *step("adagrad", adagrad, STATE),
    *step("adamax", adamax, STATE, STATE, POWER, powers=1),
    *step("adadelta", adadelta, STATE, STATE),
    row("clip_by_norm", lambda x, max_norm: ops.clip_by_norm(x, max_norm), normal, shapes=SIZES, attrs=[{"max_norm": 1.0}, {"max_norm": 1000.0}], extremes="", reference=clipped),
]  # fmt: skip
