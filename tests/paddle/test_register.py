# Operators that a user registers: eager, with gradients, in programs, in Paddle Inference; and their errors.
from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
import triton
import triton.language as tl

import openxpu.paddle


@triton.jit
def gate_forward(x, g, out, n, alpha, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    a = tl.load(x + at, mask=inside).to(tl.float32)
    b = tl.load(g + at, mask=inside).to(tl.float32)
    tl.store(out + at, a * tl.sigmoid(alpha * b), mask=inside)


@triton.jit
def gate_backward(x, g, d, dx, dg, n, alpha, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    a = tl.load(x + at, mask=inside).to(tl.float32)
    b = tl.load(g + at, mask=inside).to(tl.float32)
    up = tl.load(d + at, mask=inside).to(tl.float32)
    s = tl.sigmoid(alpha * b)
    tl.store(dx + at, up * s, mask=inside)
    tl.store(dg + at, up * a * alpha * s * (1 - s), mask=inside)


@triton.jit
def sum_of_two(x, y, out, n, HAS_Y: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    total = tl.load(x + at, mask=inside)
    if HAS_Y:
        total += tl.load(y + at, mask=inside)
    tl.store(out + at, total.to(out.dtype.element_ty), mask=inside)


def gate_gradient(b: Any, x: Any, g: Any, grad_out: Any, grad_x: Any, grad_g: Any, alpha: Any) -> None:
    b.launch(
        gate_backward, triton.cdiv(x.numel, 1024), x, g, grad_out, grad_x, grad_g, x.numel, alpha, BLOCK=1024
    )


@openxpu.paddle.register("test_gate", attributes={"alpha": 1.0}, dynamic=["alpha"], gradient=gate_gradient)
def gate(b: Any, x: Any, g: Any, out: Any, alpha: Any) -> None:
    """x * sigmoid(alpha * g)."""
    b.launch(
        gate_forward, triton.cdiv(x.numel, 1024), x, g, out, x.numel, alpha, cost=12 * x.numel, BLOCK=1024
    )


def rows_first(x: Any, y: Any, *, rows: int, mode: str) -> Any:
    return (rows, *x[1:])


@openxpu.paddle.register(
    "test_first_rows",
    attributes={"rows": int, "mode": "plain"},
    infer_shape=rows_first,
    infer_dtype=lambda x, y: "f64",
)
def first_rows(b: Any, x: Any, out: Any, rows: int, mode: str, y: Any = None) -> None:
    if mode != "plain":
        raise openxpu.ops.Unsupported(f"mode {mode!r} is none that this operator has; it has 'plain'.")
    b.launch(
        sum_of_two, triton.cdiv(out.numel, 256), x, y, out, out.numel, HAS_Y=int(y is not None), BLOCK=256
    )


def total_gradient(b: Any, xs: Any, grad_out: Any, grad_xs: Any) -> None:
    for out in grad_xs:
        b.copy(out, grad_out)


@openxpu.paddle.register("test_total", lists=["xs"], gradient=total_gradient)
def total(b: Any, xs: Any, out: Any) -> None:
    b.copy(out, xs[0])
    for x in xs[1:]:
        b.launch(sum_of_two, triton.cdiv(x.numel, 256), out, x, out, x.numel, HAS_Y=1, BLOCK=256)


@pytest.fixture(autouse=True)
def on_the_card(paddle_xpu: Any) -> None:
    paddle.set_device("xpu")


def arrays(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal(shape, np.float32), rng.standard_normal(shape, np.float32)


def expected(x: np.ndarray, g: np.ndarray, alpha: float) -> np.ndarray:
    result: np.ndarray = x / (1 + np.exp(-alpha * g))
    return result


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (7, 130), (5000,)])
def test_eager_with_gradients(shape: tuple[int, ...]) -> None:
    a, b = arrays(*shape)
    x, g = (paddle.to_tensor(v, stop_gradient=False) for v in (a, b))
    for alpha in (2.0, 0.5):
        out = gate(x, g, alpha=alpha)
        assert out.place.is_custom_place()
        assert out.shape == list(shape)
        np.testing.assert_allclose(out.numpy(), expected(a, b, alpha), rtol=1e-5, atol=1e-6)
        dx, dg = paddle.grad(out.sum(), [x, g])
        s = expected(np.ones_like(a), b, alpha)
        np.testing.assert_allclose(dx.numpy(), s, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(dg.numpy(), a * alpha * s * (1 - s), rtol=1e-4, atol=1e-6)


def test_a_dynamic_attribute_needs_no_new_plan() -> None:
    a, b = arrays(33)
    x, g = paddle.to_tensor(a), paddle.to_tensor(b)
    gate(x, g, alpha=0.1)
    before = openxpu.paddle.plans()["test_gate"][0]
    for alpha in (0.2, 0.3):
        np.testing.assert_allclose(gate(x, g, alpha=alpha).numpy(), expected(a, b, alpha), rtol=1e-5)
    assert openxpu.paddle.plans()["test_gate"][0] == before
    assert openxpu.paddle.native_calls()["test_gate"] > 0


def test_bfloat16_and_optional_input_and_inference_of_outputs() -> None:
    a, b = arrays(6, 4)
    out = first_rows(paddle.to_tensor(a), rows=3)
    assert out.dtype == paddle.float64
    assert out.shape == [3, 4]
    np.testing.assert_array_equal(out.numpy(), a[:3].astype(np.float64))
    both = first_rows(paddle.to_tensor(a), y=paddle.to_tensor(b), rows=2)
    np.testing.assert_array_equal(both.numpy(), (a + b)[:2].astype(np.float64))
    x = paddle.to_tensor(a).astype("bfloat16")
    assert gate(x, x).dtype == paddle.bfloat16


def test_lists_of_tensors() -> None:
    xs = [paddle.to_tensor(v, stop_gradient=False) for v in (*arrays(5, 3), np.ones((5, 3), np.float32))]
    out = total(xs)
    np.testing.assert_allclose(out.numpy(), sum(x.numpy() for x in xs), rtol=1e-6)
    (out * 2).sum().backward()
    for x in xs:
        np.testing.assert_array_equal(x.grad.numpy(), np.full((5, 3), 2, np.float32))


class Gated(paddle.nn.Layer):
    """A layer around the operator."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = paddle.nn.Linear(8, 8)

    def forward(self, x: Any) -> Any:
        return gate(self.linear(x), x, alpha=1.5)


def test_in_programs_and_inference(tmp_path: Path) -> None:
    model = Gated()
    x = paddle.to_tensor(arrays(4, 8)[0])
    eager = model(x)
    loss = eager.square().mean()
    loss.backward()
    wanted = model.linear.weight.grad.numpy()
    model.linear.weight.clear_gradient()
    spec = [paddle.static.InputSpec([None, 8], "float32", "x")]
    program = paddle.jit.to_static(model, input_spec=spec, full_graph=True)
    out = program(x)
    np.testing.assert_allclose(out.numpy(), eager.numpy(), rtol=1e-6)
    out.square().mean().backward()
    np.testing.assert_allclose(model.linear.weight.grad.numpy(), wanted, rtol=1e-5, atol=1e-7)

    path = str(tmp_path / "gated")
    paddle.jit.save(program, path, input_spec=spec)
    from paddle.inference import Config, create_predictor

    config = Config(path + ".json", path + ".pdiparams")
    config.enable_custom_device("xpu", 0)
    predictor = create_predictor(config)
    for rows in (4, 3):
        predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(x.numpy()[:rows])
        predictor.run()
        got = predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()
        np.testing.assert_allclose(got, eager.numpy()[:rows], rtol=1e-6)


def test_errors_are_sentences() -> None:
    a, b = arrays(4)
    x, g = paddle.to_tensor(a), paddle.to_tensor(b)
    with pytest.raises(TypeError, match="needs the input 'g'"):
        gate(x)
    with pytest.raises(TypeError, match="no attribute 'beta'"):
        gate(x, g, beta=1)
    with pytest.raises(TypeError, match="needs the attribute 'rows'"):
        first_rows(x)
    with pytest.raises(Exception, match="mode 'fancy' is none that this operator has"):
        first_rows(x, rows=2, mode="fancy")
    with pytest.raises(Exception, match=r"for the card only.*Place\(cpu\)"):
        gate(x.cpu(), g.cpu())
    with pytest.raises(ValueError, match="no parameter 'beta'"):
        openxpu.paddle.register("test_bad", attributes={"beta": 1.0})(gate.plan)
    with pytest.raises(ValueError, match="is there already"):
        openxpu.paddle.register("test_gate")(lambda b, x, out: None)
    with pytest.raises(ValueError, match="is there already"):
        openxpu.paddle.register("softmax")(lambda b, x, out: None)
    rows = paddle.nn.functional.softmax(
        paddle.ones([3, 7, 11])
    )  # a new signature: the refusal left its planner alone
    np.testing.assert_allclose(rows.sum(-1).numpy(), np.ones((3, 7)), rtol=1e-6)
    with pytest.raises(ValueError, match='without "_grad"'):
        openxpu.paddle.register("my_grad_op")(lambda b, x, out: None)


def test_one_file_is_enough(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        textwrap.dedent("""
            import triton
            import triton.language as tl
            import openxpu.paddle
            import paddle

            @triton.jit
            def triple_kernel(x, out, n, BLOCK: tl.constexpr):
                at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
                tl.store(out + at, tl.load(x + at, mask=at < n) * 3, mask=at < n)

            @openxpu.paddle.register("triple")
            def triple(b, x, out):
                b.launch(triple_kernel, triton.cdiv(x.numel, 256), x, out, x.numel, BLOCK=256)

            paddle.set_device("xpu")
            print(triple(paddle.arange(4, dtype="float32")).tolist())
        """)
    )
    done = subprocess.run([sys.executable, script], check=False, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[0.0, 3.0, 6.0, 9.0]", done.stderr
