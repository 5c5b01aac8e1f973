"""A training step of a six-layer transformer encoder with AdamW: f32, and bf16 automatic mixed precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import peers

CLASSES = 16


def sentences(batch: int, length: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, length, width), np.float32), rng.integers(0, CLASSES, batch)


def training_step(
    peer: str, batch: int, length: int, width: int, heads: int, inner: int, layers: int, bf16: bool
) -> Callable[[], None]:
    """Encoder (post-norm, ReLU, no dropout), mean over time, linear, cross-entropy, backward, AdamW."""
    data, labels = sentences(batch, length, width)
    if peer.startswith("torch"):
        return torch_training_step(data, labels, heads, inner, layers, bf16)

    import paddle
    from paddle import nn

    paddle.set_device("xpu" if peer == peers.OURS else "cpu")
    layer = nn.TransformerEncoderLayer(width, heads, inner, dropout=0.0)
    encoder, head = nn.TransformerEncoder(layer, layers), nn.Linear(width, CLASSES)
    parameters = encoder.parameters() + head.parameters()
    optimizer = paddle.optimizer.AdamW(1e-4, parameters=parameters, weight_decay=0.01)
    x, y = paddle.to_tensor(data), paddle.to_tensor(labels)

    def step() -> None:
        with paddle.amp.auto_cast(enable=bf16, level="O1", dtype="bfloat16"):
            answers = head(encoder(x).mean(axis=1))
            loss = nn.functional.cross_entropy(answers, y)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        loss.item()

    return step


def torch_training_step(
    data: np.ndarray, labels: np.ndarray, heads: int, inner: int, layers: int, bf16: bool
) -> Callable[[], None]:
    import torch
    from torch import nn

    torch.set_num_threads(peers.THREADS)
    width = data.shape[2]
    layer = nn.TransformerEncoderLayer(width, heads, inner, dropout=0.0, batch_first=True)
    encoder, head = nn.TransformerEncoder(layer, layers), nn.Linear(width, CLASSES)
    parameters: list[Any] = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.01)
    x, y = torch.from_numpy(data), torch.from_numpy(labels)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = nn.functional.cross_entropy(head(encoder(x).mean(1)), y)
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def measure(chosen: list[str], quick: bool) -> dict[str, list[peers.Row]]:
    """f32 on every peer; then OpenXPU in bf16 beside torch in f32, and beside torch in bf16."""
    sizes = {"batch": 8, "length": 128, "width": 512, "heads": 8, "inner": 2048, "layers": 6}
    if quick:
        sizes = {"batch": 2, "length": 16, "width": 64, "heads": 4, "inner": 128, "layers": 2}
    title = f"{sizes['layers']} layers, d={sizes['width']}, batch {sizes['batch']} x {sizes['length']}, AdamW"
    rounds = 2 if quick else 7
    flat = [peer for peer in chosen if peer != "torch channels-last"]
    work = "benchmarks.transformer:training_step"
    found = {
        f"Transformer training step, {title}, f32": peers.compare(
            work, flat, {**sizes, "bf16": False}, rounds
        )
    }
    mixed = [peer for peer in flat if peer in (peers.OURS, "torch")]
    if peers.OURS in mixed:
        found[f"Transformer training step, {title}: openxpu bf16 AMP, torch f32"] = peers.compare(
            work, mixed, {**sizes, "bf16": True}, rounds, per_peer={"torch": {"bf16": False}}
        )
        found[f"Transformer training step, {title}, bf16 AMP"] = peers.compare(
            work, mixed, {**sizes, "bf16": True}, rounds
        )
    return found


if __name__ == "__main__":
    given = peers.options_from(__doc__)
    peers.emit("transformer", measure(given.peers.split(","), given.quick), given.json)
