"""DataLoader with worker processes feeds the card the same batches as without."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import training


def test_worker_processes_give_the_same_losses(paddle_xpu: ModuleType) -> None:
    paddle = paddle_xpu
    images, labels = training.pictures(1, 48, 16)[0]

    class Pictures(paddle.io.Dataset):  # type: ignore[misc, name-defined]
        def __getitem__(self, index: int) -> tuple[Any, Any]:
            return images[index], labels[index]

        def __len__(self) -> int:
            return len(labels)

    curves = []
    with training.device("xpu"):
        for workers in (0, 2):
            paddle.seed(1)
            model = paddle.nn.Sequential(paddle.nn.Flatten(), paddle.nn.Linear(3 * 16 * 16, 10))
            start = np.random.default_rng(0).normal(0, 0.02, (3 * 16 * 16, 10)).astype(np.float32)
            model[1].weight.set_value(start)
            optimizer = paddle.optimizer.SGD(0.01, parameters=model.parameters())
            losses = []
            for _ in range(2):
                for x, y in paddle.io.DataLoader(Pictures(), batch_size=8, num_workers=workers):
                    loss = paddle.nn.functional.cross_entropy(model(x), y)
                    loss.backward()
                    optimizer.step()
                    optimizer.clear_grad()
                    losses.append(loss.item())
            assert x.place.is_custom_place(), f"the loader left the batch on {x.place}"
            curves.append(losses)
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-6)
    assert curves[0][-1] < curves[0][0]
