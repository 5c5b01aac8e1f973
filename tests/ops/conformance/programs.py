# One case of a row in a static program, and in a saved one under Paddle Inference.
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from conformance import engine
from conformance.dtypes import NAMES, NUMPY, PADDLE
from conformance.row import Case

import openxpu.paddle


@dataclass
class Built:
    """A program, what it is fed and what it gives."""

    program: Any
    feeds: dict[str, np.ndarray] = field(default_factory=dict)
    inputs: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    gradients: list[Any] = field(default_factory=list)


@contextmanager
def _static(case: Case, what: str) -> Iterator[None]:
    """Static mode; whatever is raised becomes a Mismatch."""
    paddle.enable_static()
    try:
        yield
    except Exception as error:
        raise engine.Mismatch(f"{case.id}: {what} raised {engine.brief(error)}") from error
    finally:
        paddle.disable_static()
        paddle.set_device("xpu")


def _build(case: Case, arrays: list[Any], gradients: bool, shapes: list[Any] | None = None) -> Built:
    """`shapes` are those of the outputs where the program leaves them open."""
    built = Built(paddle.static.Program())
    attrs = dict(case.attrs, **({"dtype": PADDLE[case.dtype]} if case.row.typed else {}))

    def fed(name: str, array: np.ndarray) -> Any:
        built.feeds[name] = array.view(np.uint16) if NAMES[array.dtype] == "bf16" else array
        return paddle.static.data(name, list(array.shape), PADDLE[NAMES[array.dtype]])

    with paddle.static.program_guard(built.program):
        given: list[Any] = []
        for i, (spec, array) in enumerate(zip(case.row.inputs, arrays, strict=True)):
            data = None if array is None else fed(f"x{i}", array)
            if data is not None:
                data.stop_gradient = not (gradients and spec.grad and array.dtype.kind not in "biu")
                built.inputs.append(data)
            given.append(data)
        built.outputs = engine.flat(case.row.call(*given, **attrs))
        if gradients:
            leaves = [d for d in built.inputs if not d.stop_gradient]
            tops = [(i, o) for i, o in enumerate(built.outputs) if not o.stop_gradient]
            ups = [
                fed(f"up{i}", engine.upstream(case, i, shapes[i] if shapes else o.shape, case.dtype))
                for i, o in tops
            ]
            if leaves and tops:
                built.gradients = paddle.static.gradients([o for _, o in tops], leaves, ups)
    return built


def check_program(case: Case) -> None:
    """The case in a program of its own, forward and backward, through the executor."""
    arrays = engine.inputs_of(case)
    with _static(case, "the program"):
        paddle.seed(1)
        shapes = None
        if case.differentiable:
            forward = _build(case, arrays, False)
            if any(-1 in out.shape for out in forward.outputs):
                executor = paddle.static.Executor(engine.card())
                first = executor.run(forward.program, feed=forward.feeds, fetch_list=forward.outputs)
                shapes = [value.shape for value in first]
        built = _build(case, arrays, case.differentiable, shapes)
        present = [g for g in built.gradients if g is not None]
        openxpu.paddle.reset_counters()
        values = paddle.static.Executor(engine.card()).run(
            built.program, feed=built.feeds, fetch_list=[*built.outputs, *present]
        )
    values = [v.view(NUMPY["bf16"]) if v.dtype == np.uint16 else v for v in values]
    rest = iter(values[len(built.outputs) :])
    got = engine.Outcome(
        values[: len(built.outputs)], [None if g is None else next(rest) for g in built.gradients]
    )
    engine._ran_natively(case, bool(present), case.row.in_program or None)
    if case.row.law is None:
        engine._compare(case, arrays, got, case.differentiable, case.row.in_program)


def check_inference(case: Case, folder: Path) -> None:
    """The case saved as a program and served on the card."""
    import paddle.inference as serving

    arrays = engine.inputs_of(case)
    path = str(folder / "model")
    with _static(case, "saving the program"):
        built = _build(case, arrays, False)
        executor = paddle.static.Executor(engine.card())
        paddle.static.save_inference_model(path, built.inputs, built.outputs, executor, program=built.program)
    try:
        config = serving.Config(path + ".json", path + ".pdiparams")
        config.enable_custom_device("xpu", 0)
        config.disable_glog_info()
        predictor = serving.create_predictor(config)
        for name in predictor.get_input_names():
            handle = predictor.get_input_handle(name)
            handle.reshape(built.feeds[name].shape)
            handle.copy_from_cpu(built.feeds[name])
        openxpu.paddle.reset_counters()
        predictor.run()
        outputs = [predictor.get_output_handle(n).copy_to_cpu() for n in predictor.get_output_names()]
    except Exception as error:
        raise engine.Mismatch(f"{case.id}: Paddle Inference raised {engine.brief(error)}") from error
    engine._ran_natively(case, False, case.row.in_program or None)
    engine._compare(case, arrays, engine.Outcome(outputs, []), False, case.row.in_program)
