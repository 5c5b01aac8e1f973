"""ResNet-18: the same losses on the card as on Paddle's CPU device, mixed precision, export and service."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import training

from openxpu.demo import digits


def momentum(paddle: ModuleType, rate: float = 0.005) -> Any:
    return lambda parameters: paddle.optimizer.Momentum(rate, 0.9, parameters=parameters, weight_decay=1e-4)


def resnet18(paddle: ModuleType) -> Any:
    return lambda: paddle.vision.models.resnet18(num_classes=10)


@pytest.mark.parametrize(
    ("size", "batch"), [(96, 8), pytest.param(224, 8, marks=pytest.mark.slow)], ids=["96", "224"]
)
def test_twenty_steps_like_the_cpu(paddle_xpu: ModuleType, size: int, batch: int) -> None:
    """One batch and small steps: at larger ones ReLUs that flip within a rounding error and batch normalization drive
    apart even the losses of Paddle's CPU device in f32 and in f64 (by 4e-2 at a rate of 5e-4)."""
    import openxpu.paddle

    batches = training.pictures(1, batch, size) * 20
    weights = training.initial_weights(resnet18(paddle_xpu))
    arguments = (resnet18(paddle_xpu), weights, batches, momentum(paddle_xpu, 1e-5))
    cpu, _ = training.train("cpu", *arguments)
    before = openxpu.paddle.fallbacks()
    card, _ = training.train("xpu", *arguments)
    training.assert_same_losses(card, cpu)
    assert openxpu.paddle.fallbacks() == before, "an operator of ResNet-18 fell back to the CPU"


def test_bf16_mixed_precision_learns_like_f32(paddle_xpu: ModuleType) -> None:
    paddle = paddle_xpu
    # At 32 the last batch norm sees 8 values, and amplifies the rounding of a step to a tenth of the next loss.
    batches = training.pictures(12, 8, 64)
    weights = training.initial_weights(resnet18(paddle))
    make_optimizer = momentum(paddle, 0.002)
    reference, _ = training.train("xpu", resnet18(paddle), weights, batches, make_optimizer)
    losses = []
    with training.device("xpu"):
        model = resnet18(paddle)()
        model.set_state_dict(weights)
        optimizer = make_optimizer(model.parameters())
        for images, labels in batches:
            with paddle.amp.auto_cast(level="O1", dtype="bfloat16"):
                answers = model(paddle.to_tensor(images))
                loss = paddle.nn.functional.cross_entropy(answers, paddle.to_tensor(labels))
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
            losses.append(float(loss.astype("float32").item()))
    assert np.isfinite(losses).all()
    assert losses != reference, "bf16 gave exactly the f32 losses: it was not on"
    np.testing.assert_allclose(losses[:3], reference[:3], rtol=0.05)
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])


def test_fp16_with_loss_scaling_learns(paddle_xpu: ModuleType) -> None:
    paddle = paddle_xpu
    losses = []
    with training.device("xpu"):
        model = digits.SmallResNet()
        digits.set_initial_weights(model, 1)
        optimizer = paddle.optimizer.Momentum(0.05, 0.9, parameters=model.parameters())
        scaler = paddle.amp.GradScaler(init_loss_scaling=1024.0)
        data = digits.load_digits()
        for images, labels in list(digits.batches(data, digits.Recipe(), 0))[:12]:
            with paddle.amp.auto_cast(level="O1", dtype="float16"):
                loss = paddle.nn.functional.cross_entropy(
                    model(paddle.to_tensor(images)), paddle.to_tensor(labels)
                )
            scaled = scaler.scale(loss)
            scaled.backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.clear_grad()
            losses.append(float(loss.astype("float32").item()))
    assert np.isfinite(losses).all()
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])


def test_export_load_and_serve_give_the_models_answers(paddle_xpu: ModuleType, tmp_path: Path) -> None:
    paddle = paddle_xpu
    images = digits.load_digits().test_images[:24]
    with training.device("xpu"):
        model = digits.SmallResNet()
        digits.set_initial_weights(model, 2)
        trained = digits.logits(model, images)
        path = digits.export(model, tmp_path)
        loaded = paddle.jit.load(str(path))
        loaded.eval()
        again = loaded(paddle.to_tensor(images)).numpy()
    served = digits.serve(path, "xpu", images)
    on_the_cpu = digits.serve(path, "cpu", images)
    np.testing.assert_allclose(again, trained, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(served, trained, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(served, on_the_cpu, rtol=1e-4, atol=1e-4)
    assert (served.argmax(1) == trained.argmax(1)).all()


def test_to_static_trains_like_eager(paddle_xpu: ModuleType) -> None:
    paddle = paddle_xpu
    data = digits.load_digits()
    recipe = digits.Recipe()
    curves = []
    with training.device("xpu"):
        for static in (False, True):
            model = digits.SmallResNet()
            digits.set_initial_weights(model, 4)
            optimizer = paddle.optimizer.Momentum(0.02, 0.9, parameters=model.parameters())
            runnable = paddle.jit.to_static(model, full_graph=True) if static else model
            steps = list(digits.batches(data, recipe, 0))[:6]
            curves.append(
                [digits.train_step(runnable, optimizer, images, labels).item() for images, labels in steps]
            )
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-4)
