# Runs conformance cases: on the card, on Paddle's CPU device in f64, in programs; compares, and checks that nothing fell back.
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from conformance import compare
from conformance.draw import with_extremes
from conformance.dtypes import FLOATS, NAMES, NUMPY, PADDLE, WIDE, is_float
from conformance.report import REPORT
from conformance.row import Case

import openxpu.paddle

CPU = paddle.CPUPlace()
# A missing integer kernel of Paddle's CPU device is replaced by a wider one; the result is wrapped to the case's dtype.
WIDER = {
    **dict.fromkeys(("bool", "u8", "i8", "i16"), ("i32", "i64", "f64")),
    "i32": ("i64", "f64"),
    "i64": ("f64",),
}


def card() -> Any:
    return paddle.CustomPlace("xpu", 0)


class Mismatch(AssertionError):
    """A case failed; the message says all there is to know."""


class Refused(Exception):
    """Paddle's CPU device refuses the case as the card does: nothing to compare."""


def brief(error: Exception) -> str:
    """An exception in one line, without the stacks that Paddle puts before its sentence."""
    lines = [line.strip() for line in str(error).partition("Traceback (most")[0].splitlines() if line.strip()]
    tail = " ".join(lines[-4:] if len(lines) > 6 else lines)
    return f"{type(error).__name__}: {tail[-500:]}"


@dataclass
class Outcome:
    """What a call left behind: outputs, and gradients (None where there is none) when they were asked for."""

    outputs: list[np.ndarray]
    gradients: list[np.ndarray | None]


# ---- values in, values out ----


def to_numpy(tensor: Any) -> np.ndarray:
    """The elements of a tensor; bfloat16 and the 8-bit floats as ml_dtypes has them."""
    array = np.asarray(tensor.numpy())
    name = str(tensor.dtype).rpartition(".")[2]
    wanted = next((NUMPY[n] for n, p in PADDLE.items() if p == name), array.dtype)
    if array.dtype == wanted:
        return array
    return array.view(wanted) if array.dtype.itemsize == wanted.itemsize else array.astype(wanted)


def to_paddle(array: np.ndarray, place: Any) -> Any:
    """A contiguous tensor with these elements."""
    name = NAMES[array.dtype]
    if name == "bf16":
        return paddle.to_tensor(array.view(np.uint16), place=place)
    if name.startswith("f8"):
        bits = paddle.to_tensor(array.view(np.uint8), place=place)
        return bits.view(PADDLE[name])
    return paddle.to_tensor(array, place=place)


def laid_out(array: np.ndarray, layout: str, place: Any) -> Any:
    """The same elements in a view that is not contiguous, where the shape allows for one."""
    if layout == "transposed" and array.ndim >= 2:
        order = list(range(array.ndim))[::-1]
        return to_paddle(np.ascontiguousarray(array.transpose(order)), place).transpose(order).detach()
    if layout == "strided" and array.ndim >= 1 and array.size:
        shape = (*array.shape[:-1], 2 * array.shape[-1] + 1)
        base = np.zeros(shape, array.dtype)
        base.reshape(-1).view(np.uint8)[...] = 0x55
        base[..., 1::2] = array
        return to_paddle(base, place)[..., 1::2].detach()
    if layout == "overlapping" and array.ndim >= 1 and array.shape[0] > 1 and array.size:
        first = to_paddle(np.asarray(array[:1], order="C"), place)
        strides = [0, *(int(np.prod(array.shape[i + 1 :])) for i in range(1, array.ndim))]
        return paddle.as_strided(first, list(array.shape), strides).detach()
    return to_paddle(np.asarray(array, order="C"), place)


def flat(result: Any) -> list[Any]:
    """The tensors of a call's result."""
    if result is None:
        return []
    if isinstance(result, (list, tuple)):
        return [tensor for part in result for tensor in flat(part)]
    return [result]


def inputs_of(case: Case) -> list[Any]:
    """The arrays that the card gets: the same on every path of the case."""
    rng = case.rng()
    arrays = case.arrays(rng)
    for i, given in enumerate(case.row.inputs):
        if arrays[i] is None:
            continue
        if case.extreme and given.dtype is None:
            arrays[i] = with_extremes(np.array(arrays[i]), rng, case.dtype, case.row.extremes)
        arrays[i] = arrays[i].astype(NUMPY[given.dtype or case.dtype])
    return arrays


def upstream(case: Case, index: int, shape: Sequence[int], dtype: str) -> np.ndarray:
    """The gradient that comes from above, for output number `index`."""
    rng = np.random.default_rng([*case.id.encode(), index])
    return rng.standard_normal(tuple(shape)).astype(NUMPY[dtype])


def run(
    case: Case,
    arrays: Sequence[Any],
    place: Any,
    widened: str | None = None,
    gradients: bool = False,
    magnitudes: bool = False,
) -> Outcome:
    """The case's call on one device. `widened`: the dtype that replaces the case's (floats become f64 with it);
    `magnitudes`: the gradients from above are positive."""
    attrs = dict(case.attrs)
    dtype = widened or case.dtype
    wider = WIDE if widened in ("f64", "c128") else {}
    if case.row.typed:
        attrs["dtype"] = PADDLE[dtype]
    with paddle.base.framework._dygraph_place_guard(place):
        tensors = []
        for given, array in zip(case.row.inputs, arrays, strict=True):
            if array is None:
                tensors.append(None)
                continue
            if widened is None:
                tensor = laid_out(array, case.layout if given.views else "contiguous", place)
            else:
                own = NAMES[array.dtype]
                tensor = to_paddle(
                    array.astype(NUMPY[widened if given.dtype is None else wider.get(own, own)]), place
                )
            tensor.stop_gradient = not (gradients and given.grad and array.dtype.kind not in "biu")
            tensors.append(tensor)
        if case.row.view:
            paddle.set_flags({"FLAGS_use_stride_kernel": False})
        try:
            return _called(case, tensors, attrs, place, gradients, magnitudes)
        finally:
            if case.row.view:
                paddle.set_flags({"FLAGS_use_stride_kernel": True})


def _called(
    case: Case, tensors: Sequence[Any], attrs: dict[str, Any], place: Any, gradients: bool, magnitudes: bool
) -> Outcome:
    outputs = flat(case.row.call(*tensors, **attrs))
    result = Outcome([to_numpy(t) for t in outputs], [])
    if gradients:
        leaves = [t for t in tensors if t is not None and not t.stop_gradient]
        tops = [(i, t) for i, t in enumerate(outputs) if not t.stop_gradient]
        ups = []
        for i, t in tops:
            name = NAMES[to_numpy(t).dtype]
            # Both devices get the same gradient: rounded to the case's dtype before it is widened.
            up = upstream(case, i, t.shape, case.dtype if name in FLOATS else name).astype(NUMPY[name])
            ups.append(to_paddle(np.abs(up) if magnitudes else up, place))
        if tops and leaves:
            found = paddle.grad([t for _, t in tops], leaves, ups, allow_unused=True)
            result.gradients = [None if g is None else to_numpy(g) for g in found]
    return result


def reference(case: Case, arrays: Sequence[Any], gradients: bool, magnitudes: bool = False) -> Outcome:
    """What the case should give: the row's own reference, or Paddle's CPU kernel, floats in f64."""
    wide = WIDE.get(case.dtype, case.dtype)
    if case.row.reference is not None:
        given = [
            None if a is None else a.astype(NUMPY[WIDE.get(NAMES[a.dtype], NAMES[a.dtype])]) for a in arrays
        ]
        attrs = dict(case.attrs, **({"dtype": PADDLE[wide]} if case.row.typed else {}))
        with np.errstate(all="ignore"):
            result = case.row.reference(*given, **attrs)
        outputs = [np.asarray(o) for o in (result if isinstance(result, (list, tuple)) else [result])]
        if not gradients:
            return Outcome(outputs, [])
        # The card's own kernels in f64, which finite differences hold against the same reference.
        return Outcome(outputs, run(case, arrays, card(), wide, True).gradients)
    missing: Exception | None = None
    for dtype in (wide, *WIDER.get(case.dtype, ())):
        try:
            return run(case, arrays, CPU, dtype, gradients, magnitudes)
        except Exception as error:
            if "is not registered" not in str(error):
                raise Mismatch(f"{case.id}: Paddle's CPU device raised {brief(error)}") from error
            missing = error
    raise Mismatch(
        f"{case.id}: Paddle's CPU device has no kernel to compare with; give the row a reference ({missing})"
    )


# ---- checks ----


def check(case: Case) -> None:
    """Runs one case eagerly and compares. Raises Mismatch."""
    arrays = inputs_of(case)
    gradients = case.differentiable
    openxpu.paddle.reset_counters()
    try:
        got = run(case, arrays, card(), None, gradients)
    except Exception as error:
        if case.row.reference is None and case.row.check is None:
            try:
                reference(case, arrays, gradients)
            except Mismatch as theirs:
                raise Refused(f"{case.id}: {brief(error)}; {theirs}") from None
        REPORT.failed(case)
        raise Mismatch(f"{case.id}: the card raised {brief(error)}") from error
    _ran_natively(case, gradients and any(g is not None for g in got.gradients))
    _compare(case, arrays, got, gradients)


def _compare(
    case: Case, arrays: Sequence[Any], got: Outcome, gradients: bool, kernels: Sequence[str] = ()
) -> None:
    """Against the reference. `kernels`: those that ran instead of the row's, for the report."""
    row = case.row
    if row.check is not None:
        try:
            row.check(got.outputs, arrays, case.attrs)
        except AssertionError as error:
            REPORT.failed(case)
            raise Mismatch(f"{case.id}: {error}") from error
        REPORT.passed(case, forward=compare.Distance())
        return
    want = reference(case, arrays, gradients)
    sizes = _sizes(case, arrays, want, gradients)
    if len(got.outputs) != len(want.outputs):
        REPORT.failed(case)
        raise Mismatch(f"{case.id}: {len(got.outputs)} outputs instead of {len(want.outputs)}")
    forward = backward = compare.Distance()
    for i, (ours, theirs) in enumerate(zip(got.outputs, want.outputs, strict=True)):
        scale = row.scale if sizes is None else sizes.outputs[i]
        found = _measure(case, f"output {i}", ours, theirs, row.tolerance, scale, arrays, i)
        forward = max(forward, found, key=lambda d: d.eps)
    for i, (ours, theirs) in enumerate(zip(got.gradients, want.gradients, strict=True)):
        if ours is None or theirs is None:
            if (ours is None) != (theirs is None):
                REPORT.failed(case)
                raise Mismatch(f"{case.id}: gradient {i} is {ours} on the card and {theirs} on the CPU")
            continue
        scale = row.grad_scale if sizes is None or sizes.gradients[i] is None else sizes.gradients[i]
        found = _measure(case, f"gradient {i}", ours, theirs, row.grad_tolerance, scale)
        backward = max(backward, found, key=lambda d: d.eps)
    REPORT.passed(case, forward, backward if gradients else None, kernels)


def _measure(
    case: Case,
    what: str,
    ours: np.ndarray,
    theirs: np.ndarray,
    tolerance: Any,
    scale: compare.Scale,
    arrays: Sequence[Any] | None = None,
    index: int = 0,
) -> compare.Distance:
    """The error of one output (with `arrays`: number `index` of the call) or gradient; raises Mismatch when too large."""
    name = NAMES[ours.dtype]
    allowed = tolerance.get(name, 0.0)
    try:
        found = compare.distance(ours, theirs, scale)
    except AssertionError as error:
        REPORT.failed(case)
        raise Mismatch(f"{case.id}: {what} has {error}") from None
    if found.eps <= allowed:
        return found
    if case.extreme and arrays is not None:
        answers = [theirs, *_other_answers(case, arrays, index)]
        each = np.stack([compare.errors(ours, np.asarray(a).reshape(ours.shape), scale)[0] for a in answers])
        theirs = np.choose(each.argmin(0), [np.asarray(a).reshape(ours.shape) for a in answers])
        found = compare.distance(ours, theirs, scale)
        if found.eps <= allowed:
            return found
    REPORT.failed(case)
    first = compare.first_beyond(ours, theirs, scale, allowed)
    raise Mismatch(
        f"{case.id}: {what} ({name}{list(ours.shape)}): largest error {found.eps:.4g} eps (allowed {allowed:g}) at "
        f"{found.index}: got {found.got!s}, expected {found.want!s}; first at {first}: got {ours[first]!s}, expected "
        f"{theirs[first]!s}"
    )


def _other_answers(case: Case, arrays: Sequence[Any], index: int) -> Iterator[np.ndarray]:
    """What else is right for extreme values: Paddle's CPU kernel in the dtype itself, where intermediate values overflow
    and vanish as on the card; and what the row says."""
    row = case.row
    if row.reference is None and is_float(case.dtype):
        yield run(case, arrays, CPU, "f64" if case.dtype == "f64" else "f32").outputs[index]
    if row.special is not None:
        given = [a if a is None or a.dtype.kind in "biu" else a.astype(np.float64) for a in arrays]
        with np.errstate(all="ignore"):
            result = row.special(*given, **case.attrs)
        yield result[index] if isinstance(result, (list, tuple)) else result


def _plain(scale: str | float) -> str | float:
    """The scale where no sizes of terms are at hand."""
    return "tensor" if scale == "terms" else scale


def _sizes(case: Case, arrays: Sequence[Any], want: Outcome, gradients: bool) -> Outcome | None:
    """For rows whose scale is "terms": the same call of the magnitudes, so that no terms cancel."""
    if case.row.scale != "terms" or not want.outputs or want.outputs[0].dtype.kind in "biu":
        return None
    sizes = [a if a is None or a.dtype.kind in "biu" else np.abs(a) for a in arrays]
    return reference(case, sizes, gradients, magnitudes=True)


def _ran_natively(case: Case, backward: bool, kernels: Sequence[str] | None = None) -> None:
    """The row's kernels ran on the card, and nothing fell back but what the row allows."""
    native, fallen = openxpu.paddle.native_calls(), openxpu.paddle.fallbacks()
    REPORT.ran(case, native)
    strange = {k: n for k, n in fallen.items() if k not in case.row.allow}
    if strange:
        REPORT.failed(case)
        raise Mismatch(f"{case.id}: fell back to the CPU: {strange}")
    if any(s is not None and 0 in s for s in case.shapes):
        return  # Paddle itself answers many calls without elements
    wanted = [case.row.kernel, *case.row.also] if kernels is None else list(kernels)
    if backward and kernels is None:
        wanted += case.row.backward
    absent = [k for k in wanted if k not in native]
    if absent:
        REPORT.failed(case)
        raise Mismatch(f"{case.id}: {', '.join(absent)} did not run on the card; these did: {native}")


def check_again(case: Case) -> None:
    """The same input twice gives the same bits."""
    arrays = inputs_of(case)
    first, second = (run(case, arrays, card(), None, case.differentiable) for _ in range(2))
    for what in ("outputs", "gradients"):
        pairs = zip(getattr(first, what), getattr(second, what), strict=True)
        for i, (a, b) in enumerate(pairs):
            if a is not None and a.tobytes() != b.tobytes():
                REPORT.failed(case)
                raise Mismatch(f"{case.id}: {what} {i} of the same input differ from one run to the next")


def check_in_place(case: Case) -> None:
    """The in-place call gives the same values, in the memory of its first input."""
    arrays = inputs_of(case)
    want = reference(case, arrays, False)
    openxpu.paddle.reset_counters()
    with paddle.base.framework._dygraph_place_guard(card()), paddle.no_grad():
        tensors = [None if a is None else laid_out(a, case.layout, card()) for a in arrays]
        address = tensors[0].data_ptr()
        outputs = flat(case.row.inplace(*tensors, **case.attrs))
        left, moved = to_numpy(tensors[0]), tensors[0].data_ptr() != address
        ours = to_numpy(outputs[0])
    _ran_natively(case, False)
    if moved:
        raise Mismatch(f"{case.id}: the in-place call moved the tensor to other memory")
    for what, array in (("in-place output", ours), ("input after the in-place call", left)):
        _measure(
            case, what, array, want.outputs[0].astype(array.dtype), case.row.tolerance, _plain(case.row.scale)
        )


def check_finite_differences(case: Case) -> None:
    """The gradient along a random direction against (f(x + h d) - f(x - h d)) / 2h, both on the card in f64."""
    arrays = inputs_of(case)
    row = case.row
    moving = [
        i
        for i, (g, a) in enumerate(zip(row.inputs, arrays, strict=True))
        if a is not None and g.grad and a.dtype.kind not in "biu"
    ]
    rng = case.rng()
    step = 1e-6
    directions = {i: rng.standard_normal(arrays[i].shape) for i in moving}
    base = run(case, arrays, card(), None, True)

    def loss(sign: int) -> float:
        moved = [a + sign * step * directions[i] if i in directions else a for i, a in enumerate(arrays)]
        outputs = run(case, moved, card()).outputs
        return sum(
            float((o * upstream(case, i, o.shape, case.dtype)).sum())
            for i, o in enumerate(outputs)
            if NAMES[o.dtype] in FLOATS and i in tops
        )

    tops = _differentiable_outputs(case, arrays)
    numeric = (loss(1) - loss(-1)) / (2 * step)
    exact = sum(
        float((g * directions[i]).sum()) for i, g in zip(moving, base.gradients, strict=True) if g is not None
    )
    size = sum(
        float(np.abs(g * directions[i]).sum())
        for i, g in zip(moving, base.gradients, strict=True)
        if g is not None
    )
    if abs(numeric - exact) > 1e-5 * max(size, 1.0):
        REPORT.failed(case)
        raise Mismatch(
            f"{case.id}: the gradient along a direction is {exact}, finite differences give {numeric}"
        )


def _differentiable_outputs(case: Case, arrays: Sequence[Any]) -> set[int]:
    with paddle.base.framework._dygraph_place_guard(card()):
        tensors = [None if a is None else to_paddle(np.asarray(a, order="C"), card()) for a in arrays]
        for given, tensor in zip(case.row.inputs, tensors, strict=True):
            if tensor is not None:
                tensor.stop_gradient = not given.grad
        return {i for i, t in enumerate(flat(case.row.call(*tensors, **case.attrs))) if not t.stop_gradient}


# ---- random numbers ----


def check_law(case: Case, seeds: Callable[[int], Any] = paddle.seed) -> None:
    """Reproducible by seed, different without, and distributed as the row's law says."""
    from conformance.law import follows

    arrays = inputs_of(case)

    def draw(seed: int) -> list[np.ndarray]:
        seeds(seed)
        return run(case, arrays, card()).outputs

    openxpu.paddle.reset_counters()
    first, again, other = draw(1), draw(1), draw(2)
    _ran_natively(case, False)
    for a, b, c in zip(first, again, other, strict=True):
        if a.tobytes() != b.tobytes():
            raise Mismatch(f"{case.id}: the same seed gave different numbers")
        if a.size > 100 and np.array_equal(a, c):
            raise Mismatch(f"{case.id}: seeds 1 and 2 gave the same numbers")
    if case.row.check is not None:
        try:
            case.row.check(first, arrays, case.attrs)
        except AssertionError as error:
            REPORT.failed(case)
            raise Mismatch(f"{case.id}: {error}") from error
    if case.row.law is not None and first[0].size > 100:
        law = case.row.law(**case.attrs)
        objection = law and follows(first[0].astype(np.float64).reshape(-1), law, case.dtype)
        if objection:
            REPORT.failed(case)
            raise Mismatch(f"{case.id}: {objection}")
    REPORT.passed(case, forward=compare.Distance())
