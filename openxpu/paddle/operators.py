# `openxpu.paddle.register`: an operator of one's own, from a Triton kernel and a planner, as an operator of Paddle.

from __future__ import annotations

import ctypes
import inspect
import itertools
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from paddle import _C_ops  # loads the plug-in
from paddle.jit.marker import unified

from openxpu.ops.plan import NUMPY_NAMES
from openxpu.paddle.counters import plugin
from openxpu.paddle.kernels import registry

_TYPES = {bool: "bool", int: "int64_t", float: "float", str: "std::string"}
_LISTS = {int: "std::vector<int64_t>", float: "std::vector<float>"}
_NAMES = {ours: theirs for theirs, ours in NUMPY_NAMES.items()}
_operators: dict[int, Operator] = {}
_run_custom_op: Any = getattr(_C_ops, "_run_custom_op")  # noqa: B009 (Paddle's own types lack it)
_places = itertools.count()
_lock = threading.Lock()

Shape = tuple[int, ...]
Plan = Callable[..., None]


class Operator:
    """A registered operator. Call it with Paddle tensors, in the order of the planner's inputs, and attributes by name."""

    def __init__(
        self,
        name: str,
        plan: Plan,
        outputs: Sequence[str],
        attributes: Mapping[str, Any],
        infer_shape: Callable[..., Any] | None,
        infer_dtype: Callable[..., Any] | None,
        lists: Sequence[str],
    ) -> None:
        parameters = list(inspect.signature(plan).parameters.values())[1:]
        names = [p.name for p in parameters]
        for wanted in (*outputs, *attributes, *lists):
            if wanted not in names:
                raise ValueError(
                    f"Operator {name!r}: {plan.__name__} has no parameter {wanted!r}; it has {', '.join(names)}."
                )
        self.name, self.plan, self.__doc__ = name, plan, plan.__doc__
        self.outputs, self.attributes = list(outputs), dict(attributes)
        self.inputs = [n for n in names if n not in outputs and n not in attributes]
        self.optional = {p.name for p in parameters if p.default is None}
        self.lists = set(lists)
        self.infer_shape, self.infer_dtype = infer_shape, infer_dtype
        if not self.inputs or not self.outputs:
            raise ValueError(f"Operator {name!r} needs at least one input and one output.")

    def _call(self, *inputs: Any, **attributes: Any) -> Any:
        """One tensor, or a tuple of them when the operator has several outputs."""
        if len(inputs) > len(self.inputs):
            raise TypeError(
                f"{self.name} takes the inputs {', '.join(self.inputs)}; {len(inputs)} were given."
            )
        given = dict(zip(self.inputs, inputs, strict=False))
        for name in self.inputs:
            if name in attributes:
                given[name] = attributes.pop(name)
            if given.setdefault(name, None) is None and name not in self.optional:
                raise TypeError(f"{self.name} needs the input {name!r}.")
        if unknown := set(attributes) - set(self.attributes):
            raise TypeError(
                f"{self.name} has no attribute {sorted(unknown)[0]!r}; it has {', '.join(self.attributes) or 'none'}."
            )
        values = [self._value(name, attributes) for name in self.attributes]
        results = _run_custom_op(self.name, *(given[n] for n in self.inputs), *values)
        return results[0] if len(results) == 1 else tuple(results)

    __call__ = unified(_call)  # one code for eager mode and programs

    def _value(self, name: str, given: Mapping[str, Any]) -> Any:
        standard = self.attributes[name]
        if name not in given and isinstance(standard, type):
            raise TypeError(f"{self.name} needs the attribute {name!r} ({standard.__name__}).")
        value = given.get(name, standard)
        if isinstance(standard, list | tuple):
            return [type(standard[0])(v) for v in value]
        return (standard if isinstance(standard, type) else type(standard))(value)

    def infer(self, what: str, inputs: list[Any], attributes: list[Any]) -> list[Any]:
        """The outputs' shapes ("s") or dtypes ("d"). Without a function they are those of the first input."""
        function = self.infer_shape if what == "s" else self.infer_dtype
        if function is None:
            first = next(v for v in inputs if v is not None and v != [])
            first = first[0] if isinstance(first, list) else first
            return [first] * len(self.outputs)
        result = function(
            *inputs, **(dict(zip(self.attributes, attributes, strict=True)) if what == "s" else {})
        )
        several = isinstance(result, list) or (
            what == "s" and isinstance(result, tuple) and any(isinstance(r, list | tuple) for r in result)
        )
        result = list(result) if several or (what == "d" and isinstance(result, tuple)) else [result]
        if len(result) != len(self.outputs):
            raise ValueError(
                f"infer_{'shape' if what == 's' else 'dtype'} of operator {self.name!r} returned {len(result)} "
                f"for the outputs {', '.join(self.outputs)}."
            )
        return result


def _paddle_name(operator: Operator, name: str, optional: bool = True) -> str:
    if name in operator.lists:
        name += "@VECTOR"
    return name + "@OPTIONAL" if optional and name.removesuffix("@VECTOR") in operator.optional else name


def _type_name(operator: Operator, name: str) -> str:
    standard = operator.attributes[name]
    if isinstance(standard, list | tuple) and standard and type(standard[0]) in _LISTS:
        return _LISTS[type(standard[0])]
    kind = standard if isinstance(standard, type) else type(standard)
    if kind in _TYPES:
        return _TYPES[kind]
    raise TypeError(
        f"Operator {operator.name!r}: attribute {name!r} is {standard!r}; an attribute is a bool, int, float, str, or a "
        "list of ints or floats, given by its standard value or by its type."
    )


def _mapping(name: str, plan: Plan, order: Sequence[str], dynamic: Sequence[str]) -> registry.Mapping:
    """The planner for the dispatcher, which hands over inputs, attributes and outputs in `order`."""

    def function(b: Any, *arguments: Any) -> None:
        plan(b, **dict(zip(order, arguments, strict=True)))

    places = tuple(order.index(d) for d in dynamic if d in order)
    return registry.Mapping(name, function, tuple(order), places)


def _specify(
    operator: Operator, gradient: Plan | None, dynamic: Sequence[str]
) -> tuple[str, list[registry.Mapping]]:
    """What C++ has to know, and the mappings of the operator and of its gradient."""
    attributes = [f"attribute {a} {_type_name(operator, a)}" for a in operator.attributes]
    lines = [f"operator {operator.name}"]
    lines += [f"in {_paddle_name(operator, n)}" for n in operator.inputs]
    lines += [f"out {n}" for n in operator.outputs]
    order = [*operator.inputs, *operator.attributes, *operator.outputs]
    mappings = [_mapping(operator.name, operator.plan, order, dynamic)]
    if gradient is None:
        return "\n".join([*lines, *attributes]), mappings
    names = list(inspect.signature(gradient).parameters)[1:]
    incoming = [o for o in operator.outputs if f"grad_{o}" in names]
    outgoing = [i for i in operator.inputs if f"grad_{i}" in names]
    known = [*operator.inputs, *operator.outputs, *operator.attributes]
    for name in names:
        if name not in known and name.removeprefix("grad_") not in (*incoming, *outgoing):
            raise ValueError(
                f"The gradient of operator {operator.name!r} has a parameter {name!r}; it can have inputs and outputs "
                f"({', '.join(known)}), grad_<output> (given) and grad_<input> (to compute)."
            )
    if not incoming or not outgoing:
        raise ValueError(
            f"The gradient of operator {operator.name!r} needs a parameter grad_<output> and a parameter grad_<input>."
        )
    inputs = [i for i in operator.inputs if i in names or i in outgoing]
    outputs = [o for o in operator.outputs if o in names]
    lines += [*attributes, f"gradient {operator.name}"]
    lines += [f"in {_paddle_name(operator, n)}" for n in inputs]
    lines += [f"in {n}" for n in outputs] + [f"in {o}@GRAD" for o in incoming]
    for name in outgoing:
        full = _paddle_name(operator, name, optional=False) + "@GRAD"
        lines.append(f"out {full}{'@OPTIONAL' if name in operator.optional else ''} {inputs.index(name)}")
    order = [*inputs, *outputs, *(f"grad_{o}" for o in incoming), *operator.attributes]
    order += [f"grad_{i}" for i in outgoing]

    def plan(b: Any, **values: Any) -> None:
        gradient(b, **{n: v for n, v in values.items() if n in names})

    mappings.append(_mapping(f"{operator.name}_grad", plan, order, dynamic))
    return "\n".join([*lines, *attributes]), mappings


def register(
    name: str,
    *,
    outputs: Sequence[str] = ("out",),
    attributes: Mapping[str, Any] | None = None,
    dynamic: Sequence[str] = (),
    gradient: Plan | None = None,
    infer_shape: Callable[..., Any] | None = None,
    infer_dtype: Callable[..., Any] | None = None,
    lists: Sequence[str] = (),
) -> Callable[[Plan], Operator]:
    """Makes a planner an operator of Paddle on device xpu: eager, in programs (to_static) and in Paddle Inference.

    The planner is `plan(b, *parameters)`: what it names is inputs (tensors without data, `openxpu.ops.plan.Tensor`),
    outputs and attributes, in any order; an input with the default None is optional. It is called once for each new
    signature and launches Triton kernels with `b.launch(kernel, grid, *arguments, cost=..., **constexprs)`.

    name         of the operator; not that of another one, and without "_grad"
    outputs      which parameters are outputs
    attributes   {parameter: standard value, or type when a value has to be given}: bool, int, float (single precision),
                 str, list of ints or floats
    dynamic      attributes that change from call to call: the planner gets a `Dynamic` for each, to pass to a launch
    gradient     planner of the gradient; its parameters are inputs, outputs, attributes, `grad_<output>` (given) and
                 `grad_<input>` (to write). What it does not name is not kept for it
    infer_shape  (*input shapes, **attributes) -> shape, or a list of shapes; -1 is an extent that a program leaves open.
                 Without it all outputs have the shape of the first input
    infer_dtype  (*input dtypes) -> dtype ("f32", ...) or a list of them. Without it that of the first input
    lists        inputs that are lists of tensors

    A program that is loaded in another process needs this registration there before it is loaded."""

    def decorate(plan: Plan) -> Operator:
        if "_grad" in name or not name.isidentifier():
            raise ValueError(f'An operator is named by an identifier without "_grad", not {name!r}.')
        operator = Operator(name, plan, outputs, attributes or {}, infer_shape, infer_dtype, lists)
        specification, mappings = _specify(operator, gradient, dynamic)
        register_native = plugin().openxpu_paddle_register_operator
        register_native.restype = ctypes.c_char_p
        with _lock:
            place = next(_places)
            for _ in mappings[1:]:
                next(_places)
            _operators[place] = operator
            if (sentence := register_native(specification.encode(), place, _infer)) is not None:
                del _operators[place]
                raise ValueError(sentence.decode())
            for mapping in mappings:
                registry.add(mapping)
        return operator

    return decorate


# ---- called by C++ ---------------------------------------------------------------------------------


def _parse(request: str, what: str) -> tuple[list[Any], list[Any]]:
    inputs: list[Any] = []
    attributes: list[Any] = []
    left = 0  # elements of a list still to come
    for line in request.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "l":
            left = int(rest)
            inputs.append([])
        elif kind == "a":
            attributes.append(json.loads(rest))
        elif kind == "s":
            attributes.append(rest)
        else:
            value: Any = None
            if kind == "t":
                value = tuple(int(n) for n in rest.split()) if what == "s" else NUMPY_NAMES.get(rest, rest)
            if left:
                inputs[-1].append(value)
                left -= 1
            else:
                inputs.append(value)
    return inputs, attributes


def _infer_outputs(place: int, what: int, request: bytes, reply: int, capacity: int) -> int:
    """Shapes or dtypes of an operator's outputs, as lines into `reply`; 1 and a sentence when that fails."""
    try:
        operator = _operators[place]
        found = operator.infer(chr(what), *_parse(request.decode(), chr(what)))
        if what == ord("s"):
            text = "".join(" ".join(str(int(n)) for n in shape) + "\n" for shape in found)
        else:
            text = "".join(_NAMES[dtype] + "\n" for dtype in found)
        failed = 0
    except Exception as error:
        text, failed = f"Operator {operator.name!r}: {type(error).__name__}: {error}", 1
    data = text.encode()[: capacity - 1] + b"\0"
    ctypes.memmove(reply, data, len(data))
    return failed


_infer = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t
)(_infer_outputs)
