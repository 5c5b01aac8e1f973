# Losses.
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import Draw, Input, below, normal, uniform
from conformance.row import row
from paddle import _C_ops as ops

F = paddle.nn.functional
SAME = [((3, 5),) * 2, ((7, 33),) * 2, ((1,),) * 2, ((2, 3, 4),) * 2, ((33, 65),) * 2, ((20011,),) * 2]
LABEL = Input(below(lambda d: d.shapes[0][-1]), "i64")
CLASSES = Input(below(lambda d: d.shapes[0][1]), "i64")


def shares(d: Draw) -> np.ndarray:
    """Probabilities along the last axis."""
    weights = d.rng.uniform(0.05, 1, d.shape)
    return weights / weights.sum(-1, keepdims=True)


def log_loss(x: np.ndarray, y: np.ndarray, epsilon: float = 1e-4) -> np.ndarray:
    """The attribute is a number of 32 bits."""
    epsilon = float(np.float32(epsilon))
    return -y * np.log(x + epsilon) - (1 - y) * np.log(1 - x + epsilon)


# Paddle's CPU kernel subtracts the 32-bit epsilon in 32 bits.
SMOOTH = {"f64": 1e9}

ROWS = [
    row("cross_entropy_with_softmax", lambda x, label, **a: F.softmax_with_cross_entropy(x, label, **a), normal, LABEL, shapes=[((3, 5), (3, 1)), ((7, 33), (7, 1)), ((2, 3, 10), (2, 3, 1)), ((33, 1025), (33, 1))],
        attrs=[{}, {"ignore_index": 1}, {"return_softmax": True}], extremes="", finite=False),
    row("cross_entropy_with_softmax", lambda x, label, **a: F.softmax_with_cross_entropy(x, label, soft_label=True, **a), normal, Input(shares, grad=False), name="cross_entropy_with_soft_labels", shapes=[((3, 5),) * 2, ((7, 33),) * 2, ((33, 65),) * 2], extremes=""),
    row("cross_entropy_with_softmax", lambda x, label: F.softmax_with_cross_entropy(x, label, axis=1), normal, CLASSES, name="cross_entropy_axis", shapes=[((2, 5, 3), (2, 1, 3)), ((3, 17, 65), (3, 1, 65))], extremes=""),
    row("bce_loss", lambda x, y: F.binary_cross_entropy(x, y, reduction="none"), uniform(0.05, 0.95), Input(uniform(0, 1), grad=False), shapes=SAME, extremes=""),
    row("sigmoid_cross_entropy_with_logits", lambda x, y, **a: ops.sigmoid_cross_entropy_with_logits(x, y, None, a.get("normalize", False), a.get("ignore_index", -100)), normal, Input(below(2), grad=False), shapes=SAME, attrs=[{}, {"ignore_index": 1}], extremes=""),
    row("huber_loss", lambda x, y, delta: F.smooth_l1_loss(x, y, reduction="none", delta=delta), normal, normal, shapes=SAME, attrs=[{"delta": 1.0}, {"delta": 0.3}], extremes=""),
    row("log_loss", F.log_loss, uniform(0.05, 0.95), Input(below(2), grad=False), shapes=[((5, 1),) * 2, ((33, 1),) * 2, ((2001, 1),) * 2], attrs=[{}, {"epsilon": 0.01}], extremes="", reference=log_loss),
    row("kldiv_loss", lambda x, y, **a: F.kl_div(x, y, **a), normal, Input(shares, grad=False), shapes=SAME, attrs=[{"reduction": "none"}, {"reduction": "mean"}, {"reduction": "batchmean"}, {"reduction": "sum"}, {"reduction": "none", "log_target": True}], extremes="", grad_tolerance=6.0),
    # Paddle's CPU kernel writes past its memory when a label is the ignored one.
    row("nll_loss", lambda x, label, **a: F.nll_loss(x, label, **a), normal, Input(below(lambda d: d.shapes[0][1]), "i64"), shapes=[((3, 5), (3,)), ((7, 33), (7,)), ((2, 5, 4, 3), (2, 4, 3)), ((65, 17), (65,))], attrs=[{}, {"reduction": "none"}, {"reduction": "sum"}], extremes=""),
    row("nll_loss", lambda x, label, weight, **a: F.nll_loss(x, label, weight, **a), normal, Input(below(lambda d: d.shapes[0][1]), "i64"), Input(uniform(0.1, 2), grad=False), name="nll_loss_weighted", shapes=[((3, 5), (3,), (5,)), ((65, 17), (65,), (17,))], attrs=[{}, {"reduction": "none"}], extremes=""),
    row("label_smooth", lambda x, epsilon: F.label_smooth(x, epsilon=epsilon), shares, shapes=[(3, 5), (7, 33), (2, 3, 4), (33, 65)], attrs=[{"epsilon": 0.1}, {"epsilon": 0.3}], extremes="", tolerance=SMOOTH),
    row("label_smooth", lambda x, prior: F.label_smooth(x, prior, 0.2), shares, Input(shares, grad=False), name="label_smooth_prior", shapes=[((3, 5), (1, 5)), ((33, 65), (1, 65))], extremes="", tolerance=SMOOTH),
]  # fmt: skip
