"""Recommendation models: clicks, histories, several tasks, what comes next; tables are small, the architecture is whole."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from openxpu.models.registry import Batch, Data, Model

NUMBERS, FIELDS, CATEGORIES = (
    13,
    26,
    200,
)  # of Criteo: numbers, categorical fields, and categories of each field here
ITEMS, PAST = 2000, 20
CLICKS = """lr fm ffm fnn wide-deep deepfm xdeepfm autoint autoint-plus dcn dcn-v2 dcn-mix nfm afm ipnn opnn fibinet dlrm-small dlrm"""


# Of Momentum; 0.1 where none is given. Histories have small gradients at first, the towers' products are sharpened.
RATES = {
    "dssm": 0.01,
    "gmf": 1.0,
    "gru4rec": 1.0,
    **dict.fromkeys(("din", "dien", "caser", "youtube-dnn"), 0.3),
}


def build(name: str) -> Any:
    from openxpu.models.recommendation_layers import builders

    return builders()[name]()


def table(batch: int, seed: int) -> Batch:
    """Numbers [8 batch, 13] f32, categories [8 batch, 26] i64, click and purchase [8 batch, 2] f32: rows are cheap, so there are more."""
    rng = np.random.default_rng(seed)
    rows = 8 * batch
    click = rng.integers(0, 2, rows)
    return {
        "numbers": rng.lognormal(0, 0.5, (rows, NUMBERS)).astype(np.float32),
        "categories": rng.integers(0, CATEGORIES, (rows, FIELDS)).astype(np.int64),
        "label": np.stack([click, click * rng.integers(0, 2, rows)], 1).astype(np.float32),
    }


def history(batch: int, seed: int) -> Batch:
    """Items that a user chose [8 batch, 20] i64, those one later, an item that is offered [8 batch, 1], and whether it is taken."""
    rng = np.random.default_rng(seed)
    rows = 8 * batch
    chosen = rng.integers(1, ITEMS, (rows, PAST + 1)).astype(np.int64)
    return {
        "history": chosen[:, :-1],
        "item": chosen[:, -1:],
        "user": rng.integers(1, ITEMS, (rows, 1)).astype(np.int64),
        "next": chosen[:, 1:],
        "label": rng.integers(0, 2, (rows, 1)).astype(np.float32),
    }


def _click(outputs: Any, batch: Batch) -> Any:
    import paddle

    wanted = batch["label"][:, : outputs.shape[-1]]
    return paddle.nn.functional.binary_cross_entropy_with_logits(outputs.astype("float32"), wanted)


def _own(outputs: Any, batch: Batch) -> Any:
    """Two towers: of all items in the batch, the user's own."""
    import paddle

    return paddle.nn.functional.cross_entropy(outputs.astype("float32"), paddle.arange(outputs.shape[0]))


def _following(outputs: Any, batch: Batch) -> Any:
    import paddle

    wanted = batch["next"][:, -outputs.shape[1] :]
    return paddle.nn.functional.cross_entropy(outputs.astype("float32").flatten(0, 1), wanted.flatten())


def models() -> list[Model]:
    click = Data(table, ("numbers", "categories"), _click)
    several = Data(table, ("numbers", "categories"), _click)
    offered = Data(history, ("history", "item"), _click)
    pair = Data(history, ("user", "item"), _click)
    groups = [
        (CLICKS, click), ("shared-bottom mmoe ple esmm", several), ("din dien", offered), ("gmf ncf-mlp neumf", pair),
        ("dssm", Data(history, ("history", "item"), _own)), ("gru4rec sasrec bert4rec caser youtube-dnn", Data(history, ("history",), _following)),
    ]  # fmt: skip
    return [
        Model(
            name,
            "recommendation",
            "OpenXPU",
            functools.partial(build, name),
            data,
            learning_rate=RATES.get(name, 0.1),
            listed=name in ("deepfm", "wide-deep", "dlrm"),
        )
        for names, data in groups
        for name in names.split()
    ]
