# Paddle Inference on the card: enable_custom_device("xpu").

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import paddle.inference as serving
import pytest
from compared import fallen, set_weights


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, paddle_xpu: Any) -> tuple[str, np.ndarray, np.ndarray]:
    """(path of the program, an input, what the model makes of it on the CPU)."""
    paddle.set_device("cpu")
    model = paddle.nn.Sequential(
        paddle.nn.Conv2D(3, 8, 3, stride=2, padding=1),
        paddle.nn.BatchNorm2D(8),
        paddle.nn.ReLU(),
        paddle.nn.AdaptiveAvgPool2D(1),
        paddle.nn.Flatten(),
        paddle.nn.Linear(8, 10),
        paddle.nn.Softmax(),
    )
    set_weights(model[0], 1, 0.3)
    set_weights(model[5], 2, 0.5)
    model.eval()
    x = np.random.default_rng(0).normal(0, 1, (4, 3, 16, 16)).astype(np.float32)
    path = str(tmp_path_factory.mktemp("inference") / "model")
    paddle.jit.save(model, path, input_spec=[paddle.static.InputSpec([None, 3, 16, 16], "float32", "image")])
    return path, x, model(paddle.to_tensor(x)).numpy()


def predictor(path: str, number: int = 0, optimise: bool = True) -> Any:
    config = serving.Config(path + ".json", path + ".pdiparams")
    config.enable_custom_device("xpu", number)
    config.switch_ir_optim(optimise)
    return serving.create_predictor(config)


def infer(runner: Any, x: np.ndarray) -> np.ndarray:
    given = runner.get_input_handle(runner.get_input_names()[0])
    given.reshape(x.shape)
    given.copy_from_cpu(x)
    runner.run()
    return np.asarray(runner.get_output_handle(runner.get_output_names()[0]).copy_to_cpu())


@pytest.mark.parametrize("optimise", [True, False])
def test_the_same_predictions(saved: tuple[str, np.ndarray, np.ndarray], optimise: bool) -> None:
    path, x, expected = saved
    runner = predictor(path, optimise=optimise)
    for _ in range(3):
        np.testing.assert_allclose(infer(runner, x), expected, rtol=1e-4, atol=1e-6)
    for rows in (1, 3):
        np.testing.assert_allclose(infer(runner, x[:rows]), expected[:rows], rtol=1e-4, atol=1e-6)


def test_everything_runs_natively(saved: tuple[str, np.ndarray, np.ndarray]) -> None:
    path, x, _ = saved
    runner = predictor(path)
    assert fallen(lambda: infer(runner, x)) == {}


def test_tensors_instead_of_handles(saved: tuple[str, np.ndarray, np.ndarray]) -> None:
    path, x, expected = saved
    (out,) = predictor(path).run([paddle.to_tensor(x)])
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-4, atol=1e-6)


def test_two_predictors_share_the_card(saved: tuple[str, np.ndarray, np.ndarray]) -> None:
    path, x, expected = saved
    first = predictor(path)
    second = first.clone()
    third = predictor(path)
    for runner in (first, second, third, first):
        np.testing.assert_allclose(infer(runner, x), expected, rtol=1e-4, atol=1e-6)


def test_a_card_that_is_not_there(saved: tuple[str, np.ndarray, np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"xpu:7 was asked for.*these cards: xpu:0"):
        predictor(saved[0], number=7)


def test_the_words_of_the_built_in_device(saved: tuple[str, np.ndarray, np.ndarray]) -> None:
    path, x, expected = saved
    config = serving.Config(path + ".json", path + ".pdiparams")
    assert not config.use_xpu()
    assert not config.lite_engine_enabled()
    with pytest.raises(RuntimeError, match="EnableXpu before"):
        config.set_xpu_device_id(0)
    config.enable_xpu(10 * 1024 * 1024)
    config.set_xpu_device_id(0)
    config.set_xpu_config(serving.XpuConfig())
    assert config.use_xpu()
    assert config.xpu_device_id() == 0
    with pytest.raises(ValueError, match=r"xpu:7 was asked for.*these cards: xpu:0"):
        config.set_xpu_device_id(7)
    runner = serving.create_predictor(config)
    assert fallen(lambda: infer(runner, x)) == {}
    np.testing.assert_allclose(infer(runner, x), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("word", ["enable_xpu", "enable_custom_device"])
def test_memory_optimisation(saved: tuple[str, np.ndarray, np.ndarray], word: str) -> None:
    path, x, expected = saved
    config = serving.Config(path + ".json", path + ".pdiparams")
    config.enable_custom_device("xpu", 0) if word == "enable_custom_device" else config.enable_xpu()
    config.enable_memory_optim()
    np.testing.assert_allclose(infer(serving.create_predictor(config), x), expected, rtol=1e-4, atol=1e-6)
