# What a row of the conformance tables says about a phi kernel, and the cases that follow from it.
"""A row file (rows/<group>.py) has a list ROWS of calls like

    row("argmax", lambda x, **a: paddle.argmax(x, **a), distinct, shapes=REDUCED, attrs=[{"axis": 0}, {"axis": -1}])

The call gets the inputs as Paddle tensors and the attributes by name, on the card, on the CPU and in programs, so it names no
device and reads no values. From the row follow cases: every shape with every attribute set in the first dtype, fewer in
the others, views that are not contiguous, extreme values, gradients. docs/add-an-operator.md explains each parameter."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from conformance.draw import Draw, Generator, Input
from conformance.dtypes import CLAIMED, is_float, is_integer

Shape = tuple[int, ...]

# Rank 0 to 4; nothing in it, one element, odd lengths, a dimension of 1, longer than any tile and prime.
ANY: tuple[Any, ...] = (
    (3, 5), (7, 33), (), (0,), (1,), (7,), (2, 0, 3), (4, 1, 6), (2, 3, 4, 5), (33, 65), (20011,),
)  # fmt: skip
# The same for two operands that broadcast.
BROADCAST: tuple[Any, ...] = (
    ((3, 5), (5,)), ((4, 3), (4, 3)), ((), ()), ((3, 1, 4), (5, 1)), ((2, 3, 4), (1,)), ((0, 3), (1, 3)), ((1,), (1,)),
    ((), (4,)), ((33, 65), (33, 1)), ((7, 1, 5), (1, 3, 1)), ((5,), (2, 3, 5)), ((20011,), (20011,)),
)  # fmt: skip
# For operators along an axis: the axis short, long, in the middle, of length 1; other axes empty.
ALONG: tuple[Any, ...] = (
    (3, 7), (5, 33), (1,), (7,), (4, 1), (0, 3), (2, 5, 3), (2, 3, 4, 5), (33, 65), (3, 1025), (2, 20011),
)  # fmt: skip

LAYOUTS = ("transposed", "strided", "overlapping")
DEFAULT_TOLERANCE = {"f32": 8.0, "f64": 32.0, "f16": 2.0, "bf16": 2.0, "c64": 8.0, "c128": 32.0}


@dataclass(frozen=True)
class Row:
    """See `row`, which fills in the defaults."""

    name: str
    kernel: str
    call: Callable[..., Any]
    inputs: tuple[Input, ...]
    shapes: tuple[Any, ...]
    attrs: tuple[dict[str, Any], ...]
    cases: tuple[tuple[Any, dict[str, Any]], ...]
    dtypes: tuple[str, ...]
    without: Mapping[str, str]
    also: tuple[str, ...]
    backward: tuple[str, ...]
    backward_dtypes: tuple[str, ...]
    reference: Callable[..., Any] | None
    special: Callable[..., Any] | None
    check: Callable[..., None] | None
    law: Callable[..., Any] | None
    scale: str | float
    grad_scale: str | float
    tolerance: Mapping[str, float]
    grad_tolerance: Mapping[str, float]
    extremes: str | Sequence[float]
    layouts: tuple[str, ...]
    inplace: Callable[..., Any] | None
    typed: bool
    view: bool
    in_program: tuple[str, ...]
    finite: bool
    static: bool | str
    inference: bool | str
    allow: Mapping[str, str]
    valid: Callable[[tuple[Any, ...], dict[str, Any]], bool]
    group: str = ""

    @property
    def kernels(self) -> tuple[str, ...]:
        """All phi kernels that the row is about."""
        return (self.kernel, *self.also, *self.backward, *self.in_program)


def row(
    kernel: str,
    call: Callable[..., Any],
    *inputs: Generator | Input,
    name: str | None = None,
    shapes: Sequence[Any] = ANY,
    attrs: Sequence[dict[str, Any]] = ({},),
    cases: Sequence[tuple[Any, dict[str, Any]]] = (),
    dtypes: Sequence[str] | None = None,
    without: Mapping[str, str] | None = None,
    also: Sequence[str] = (),
    grad: bool | Sequence[str] | None = None,
    reference: Callable[..., Any] | None = None,
    special: Callable[..., Any] | None = None,
    check: Callable[..., None] | None = None,
    law: Callable[..., Any] | None = None,
    scale: str | float = "tensor",
    grad_scale: str | float = "tensor",
    tolerance: float | Mapping[str, float] = 1.0,
    grad_tolerance: float | Mapping[str, float] | None = None,
    extremes: str | Sequence[float] = "fi",
    layouts: Sequence[str] = LAYOUTS,
    inplace: Callable[..., Any] | None = None,
    typed: bool = False,
    view: bool = False,
    in_program: Sequence[str] = (),
    finite: bool = True,
    static: bool | str = True,
    inference: bool | str = True,
    allow: Mapping[str, str] | None = None,
    valid: Callable[[tuple[Any, ...], dict[str, Any]], bool] | None = None,
) -> Row:
    """One row.

    kernel          the phi kernel that the call must reach, natively
    call            (*tensors, **attrs) -> tensor, or tuple or list of tensors
    inputs          a generator (draw.py) or Input(generator, dtype, grad) for each tensor
    name            needed when a kernel has several rows
    shapes          a shape for all inputs, or a tuple with one for each (None: the input is absent)
    attrs           attribute sets; each is combined with each shape for which `valid` holds
    cases           further (shapes, attrs) that are not combined
    dtypes          default: those of the kernel's line
    without         {dtype: reason} of the line's dtypes that are not run
    also            further phi kernels that the call must reach
    grad            default: whether the kernel has a `_grad` line; or the names of the kernels that are its gradient
    reference       NumPy instead of Paddle's CPU kernel: (*arrays, **attrs) -> array or arrays; floats come as f64
    special         NumPy as another right answer for extreme values, where Paddle's CPU kernel flushes, clips or gives NaN
    check           instead of a reference: (outputs, arrays, attrs), asserts; for what has no one right answer
    law             random numbers: (**attrs) -> a frozen distribution of SciPy that the first output follows, or None where
                    `check` says all
    scale           what errors are measured against, see compare.py: "element", "tensor", "terms", or an absolute number;
                    grad_scale: the same for gradients, which often subtract rounded outputs
    tolerance       a factor on DEFAULT_TOLERANCE, or {dtype: units of eps}; grad_tolerance: the same, default three times that
    extremes        "f": also NaN, infinities, denormals, the largest; "i": also the smallest and largest integers; "":
                    neither; or the numbers to be used instead
    layouts         views to run: transposed, strided, overlapping
    inplace         the same operator as a call that changes its first input
    typed           the call takes dtype="float32", ...: for operators without inputs
    view            in eager mode Paddle answers with a view and calls no kernel, so it is told to do without views
    in_program      the phi kernels that a program reaches instead
    finite          gradients are also compared with finite differences in f64
    static          False or a reason: the call cannot be put into a program; inference: the same for a saved one
    allow           {phi kernel: reason} of fallbacks that the call may make beside the kernel
    valid           (shapes, attrs) -> whether they go together; default: an integer `axis` exists in the first input
    """
    claimed = CLAIMED.get(kernel, ())
    without = dict(without or {})
    chosen = tuple(d for d in (dtypes or claimed) if d not in without)
    if grad is None:
        grad = f"{kernel}_grad" in CLAIMED
    backward = (f"{kernel}_grad",) if grad is True else tuple(grad or ())
    differentiable = tuple(
        d for d in chosen if is_float(d) and all(d in CLAIMED.get(k, ()) for k in backward) and backward
    )
    widths = _tolerance(tolerance)
    return Row(
        name=name or kernel,
        kernel=kernel,
        call=call,
        inputs=tuple(i if isinstance(i, Input) else Input(i) for i in inputs),
        shapes=tuple(_per_input(s, len(inputs)) for s in (shapes if inputs else [()])),
        attrs=tuple(attrs),
        cases=tuple((_per_input(s, len(inputs)), a) for s, a in cases),
        dtypes=chosen,
        without=without,
        also=tuple(also),
        backward=backward,
        backward_dtypes=differentiable,
        reference=reference,
        special=special,
        check=check,
        law=law,
        scale=scale,
        grad_scale=grad_scale,
        tolerance=widths,
        grad_tolerance={k: 3 * v for k, v in widths.items()}
        if grad_tolerance is None
        else _tolerance(grad_tolerance),
        extremes=extremes,
        layouts=tuple(layouts) if inputs and not view else (),
        inplace=inplace,
        typed=typed,
        view=view,
        in_program=tuple(in_program),
        finite=finite,
        static=static,
        inference=inference,
        allow=dict(allow or {}),
        valid=valid or _axis_exists,
    )


def _tolerance(given: float | Mapping[str, float]) -> dict[str, float]:
    if isinstance(given, Mapping):
        return {**DEFAULT_TOLERANCE, **given}
    return {dtype: given * eps for dtype, eps in DEFAULT_TOLERANCE.items()}


def _per_input(shapes: Any, count: int) -> tuple[Any, ...]:
    if all(isinstance(n, int) for n in shapes):
        return (tuple(shapes),) * count
    if len(shapes) != count:
        raise ValueError(f"{len(shapes)} shapes were given for {count} inputs: {shapes}")
    return tuple(shapes)


def _axis_exists(shapes: tuple[Any, ...], attrs: dict[str, Any]) -> bool:
    axis = attrs.get("axis")
    axes = axis if isinstance(axis, (list, tuple)) else [axis]
    if not shapes or shapes[0] is None:
        return True
    rank = max(len(shapes[0]), 1)
    return all(not isinstance(a, int) or isinstance(a, bool) or -rank <= a < rank for a in axes)


def something_along(shapes: tuple[Any, ...], attrs: dict[str, Any]) -> bool:
    """For `valid`: the axis exists (None: all axes) and has elements, without which there is no largest one."""
    axis, shape = attrs.get("axis"), shapes[0]
    if axis is None:
        return 0 not in shape
    return _axis_exists(shapes, attrs) and (not shape or shape[axis] > 0)


@dataclass(frozen=True)
class Case:
    """One call: a row with a dtype, shapes, attributes, and how its inputs lie in memory."""

    row: Row
    dtype: str
    shapes: tuple[Any, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    layout: str = "contiguous"
    extreme: bool = False

    @property
    def id(self) -> str:
        shapes = " ".join("x".join(map(str, s)) or "0-d" if s is not None else "none" for s in self.shapes)
        attrs = ", ".join(f"{k}={v!r}" for k, v in self.attrs.items())
        parts = [self.row.name, self.dtype, shapes, f"({attrs})" if attrs else "", self.layout]
        return " ".join(p for p in [*parts, "extreme values" if self.extreme else ""] if p)

    @property
    def differentiable(self) -> bool:
        return self.dtype in self.row.backward_dtypes and not self.extreme

    @property
    def numel(self) -> int:
        """Elements of the largest input."""
        return max((int(np.prod(s)) for s in self.shapes if s is not None), default=1)

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(self.id.encode()))

    def arrays(self, rng: np.random.Generator) -> list[Any]:
        """Values of the inputs before they are rounded to their dtypes."""
        made: list[Any] = []
        for given, shape in zip(self.row.inputs, self.shapes, strict=True):
            if shape is None:
                made.append(None)
                continue
            flat = self.layout == "overlapping" and len(shape) > 0 and shape[0] > 1
            drawn = (1, *shape[1:]) if flat else shape
            values = given.draw(Draw(rng, drawn, given.dtype or self.dtype, self.shapes, self.attrs))
            made.append(np.broadcast_to(values, shape) if flat else np.asarray(values).reshape(shape))
        return made


def cases(row: Row, dtype: str) -> Iterator[Case]:
    """All cases of a row in one dtype."""
    together = [(s, a) for s in row.shapes for a in row.attrs if row.valid(s, a)]
    primary = dtype == row.dtypes[0]
    plain = together if primary else _thinned(row)
    for shapes, attrs in [*plain, *row.cases]:
        yield Case(row, dtype, shapes, attrs)
    everything = [*row.cases, *together]
    for layout in row.layouts:
        suited = [(s, a) for s, a in everything if _suits(layout, s)]
        for shapes, attrs in _spread(suited, 4 if primary else 2):
            yield Case(row, dtype, shapes, attrs, layout)
    listed = not isinstance(row.extremes, str)
    if (is_float(dtype) and (listed or "f" in row.extremes)) or (
        is_integer(dtype) and not listed and "i" in row.extremes
    ):
        sized = [c for c in everything if 8 <= Case(row, dtype, *c).numel <= 4096]
        for shapes, attrs in _spread(sorted(sized, key=lambda c: -Case(row, dtype, *c).numel), 4):
            yield Case(row, dtype, shapes, attrs, extreme=True)


def _thinned(row: Row) -> list[tuple[Any, dict[str, Any]]]:
    """Every shape and every attribute set at least once."""
    chosen: list[tuple[Any, dict[str, Any]]] = []
    for i, shapes in enumerate(row.shapes):
        fitting = [a for a in row.attrs if row.valid(shapes, a)]
        if fitting:
            chosen.append((shapes, fitting[i % len(fitting)]))
    for attrs in row.attrs:
        if not any(a is attrs for _, a in chosen):
            chosen += [(s, attrs) for s in row.shapes if row.valid(s, attrs)][:1]
    return chosen


def _spread(pairs: list[Any], count: int) -> list[Any]:
    """At most `count` of them, attribute sets first."""
    seen: list[Any] = []
    order = sorted(pairs, key=lambda pair: seen.append(pair[1]) or sum(a is pair[1] for a in seen))
    return order[:count]


def _suits(layout: str, shapes: tuple[Any, ...]) -> bool:
    rank = 2 if layout == "transposed" else 1
    return any(s is not None and len(s) >= rank and np.prod(s) > 1 for s in shapes)


def fast_cases(row: Row) -> list[Case]:
    """The few cases that stand for the row on every change: two dtypes, one of them as a strided view, an integer type."""
    everything = [*((s, a) for s in row.shapes for a in row.attrs if row.valid(s, a)), *row.cases]
    small = [c for c in everything if 1 < Case(row, row.dtypes[0], *c).numel <= 4096] or everything[:1]
    if not small:
        raise ValueError(f"row {row.name} has no case: no attributes go with any shape")
    spread = _spread(small, 3)
    chosen = [Case(row, row.dtypes[0], *spread[0])]
    floats = [d for d in ("bf16", "f16") if d in row.dtypes[1:]]
    others = [d for d in row.dtypes[1:] if is_integer(d)]
    if floats:
        chosen.append(Case(row, floats[0], *spread[1 % len(spread)]))
    if others:
        chosen.append(Case(row, others[0], *spread[-1]))
    if "strided" in row.layouts:
        views = [c for c in small if _suits("strided", c[0])]
        if views:
            chosen.append(Case(row, row.dtypes[0], *views[-1], "strided"))
    return chosen
