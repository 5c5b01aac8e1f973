"""Samples and the loss of semantic segmentation: pictures of waves, whose heights are the classes; half of each is ground, class 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from openxpu.models.registry import Batch, Data

CLASSES = 19  # as many as Cityscapes has


def scenes(size: int, channels: int = 3) -> Any:
    """make(batch, seed): pictures [batch, channels, size, size] f32 and the class of each point [batch, size, size] i64."""

    def make(batch: int, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[0:size, 0:size] / size
        waves = rng.uniform(1, 4, (batch, channels, 2))
        clean = np.sin(6.3 * (waves[..., 0, None, None] * y + waves[..., 1, None, None] * x))
        label = np.clip(clean.mean(1) * CLASSES, 0, CLASSES - 1)
        # Dark and bright in turn: the statistics of two samples that are alike would amplify every difference.
        light = np.where(np.arange(batch) % 2, 1.0, -1.0)[:, None, None, None]
        noisy = clean + light + rng.normal(0, 0.1, clean.shape)
        return {"image": noisy.astype(np.float32), "label": label.astype(np.int64)}

    return make


def cross_entropy(outputs: Any, batch: Batch) -> Any:
    """The mean over all maps of class scores that a model gives, each brought to the size of the labels.

    Maps with other channels (edges of STDC, for one) are no class scores, and are left out."""
    from paddle.nn import functional as F

    from openxpu.certify.stages import flat

    label, losses = batch["label"], []
    for scores in flat(outputs):
        if len(scores.shape) != 4 or scores.shape[1] != CLASSES:
            continue
        whole = scores.astype("float32")
        if list(whole.shape[2:]) != list(label.shape[1:]):
            whole = F.interpolate(whole, size=label.shape[1:], mode="bilinear")
        losses.append(F.cross_entropy(whole, label, axis=1))
    return sum(losses[1:], losses[0]) / len(losses)


def scene_data(size: int, other: int | None = None) -> Data:
    """Pictures of `size`; `other`: the model takes pictures of this size too."""
    return Data(
        make=scenes(size),
        inputs=("image",),
        loss=cross_entropy,
        dynamic={"image": (0, 2, 3) if other else (0,)},
        other=scenes(other) if other else None,
    )
