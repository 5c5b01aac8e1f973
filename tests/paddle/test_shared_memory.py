# Kernels whose outputs lie in memory that something else has, too: coalesce_tensor, set and share_data.

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from compared import fallen
from paddle import _C_ops


def coalesce(tensors: list[paddle.Tensor], align: bool, copy: bool, constant: float | None) -> tuple:
    return _C_ops.coalesce_tensor(
        tensors, tensors[0].dtype, copy, constant is not None, False, constant or 0.0, align, -1, -1, [], []
    )


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int64"])
def test_coalesced_tensors_are_parts_of_one_buffer(dtype: str, align: bool) -> None:
    arrays = [np.arange(6).reshape(2, 3) + 1, np.arange(5) + 10, np.array([7])]
    tensors = [paddle.to_tensor(a.astype(dtype)) for a in arrays]

    def run() -> None:
        parts, fused = coalesce(tensors, align, True, None)
        for part, array in zip(parts, arrays, strict=True):
            np.testing.assert_array_equal(part.numpy(), array.astype(dtype))
        if not align:
            np.testing.assert_array_equal(fused.numpy(), np.concatenate([a.ravel() for a in arrays]))
        fused.zero_()  # what happens to the buffer happens to its parts
        for part in parts:
            assert not part.numpy().any()
        parts[1].fill_(3)
        assert (fused == 3).sum().item() == 5

    assert not fallen(run)


def test_coalesced_tensors_are_filled() -> None:
    parts, fused = coalesce([paddle.rand([4]), paddle.rand([3, 2])], False, False, 2.5)
    assert (fused.numpy() == 2.5).all()
    assert parts[1].shape == [3, 2]
    assert (parts[1].numpy() == 2.5).all()


def test_set_takes_the_memory_of_another_tensor() -> None:
    x, source = paddle.zeros([3]), paddle.arange(12, dtype="float32")

    def run() -> None:
        x.set_(source, [2, 3], [6, 2], 0)

    assert not fallen(run)
    np.testing.assert_array_equal(x.numpy(), np.arange(12).reshape(2, 6)[:, ::2])
    source.add_(paddle.ones([12]))
    np.testing.assert_array_equal(x.numpy(), np.arange(12).reshape(2, 6)[:, ::2] + 1)


def test_a_program_detaches_on_the_card(tmp_path: Path) -> None:
    """Programs detach with share_data: run on the CPU, its result was another memory than the card's next operator read."""

    class Rounded(paddle.nn.Layer):
        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            y = x * 2
            return y + (paddle.round(y) - y).detach()

    x = np.random.default_rng(0).normal(0, 3, (4, 5)).astype(np.float32)
    program = paddle.jit.to_static(Rounded(), full_graph=True)
    assert not fallen(lambda: program(paddle.to_tensor(x)))
    np.testing.assert_allclose(program(paddle.to_tensor(x)).numpy(), np.round(x * 2), atol=1e-5)
    paddle.jit.save(
        Rounded(), str(tmp_path / "model"), input_spec=[paddle.static.InputSpec([-1, 5], "float32")]
    )
    config = paddle.inference.Config(str(tmp_path / "model.json"), "")
    config.enable_custom_device("xpu", 0)
    config.disable_glog_info()
    predictor = paddle.inference.create_predictor(config)
    predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(x)
    predictor.run()
    found = predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()
    np.testing.assert_allclose(found, np.round(x * 2), atol=1e-5)
