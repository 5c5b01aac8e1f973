"""Random kernels for differential tests: typed expressions, loops, branches, reductions, stores that alias later loads.

Everything is exact in both machines: integers wrap, and floats are quarters that are clamped after every statement, so
results must be equal bit for bit. A seed gives one kernel; sizes are bounded.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

INTS = {"i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64", "u8": "uint8", "u32": "uint32"}
DTYPES = {**INTS, "f32": "float32", "f64": "float64"}
SHAPES = ("mn", "n", "m", "s")
HEAD = """
@triton.jit
def either(a, b):
    return a | b


@triton.jit
def greater(a, i, b, j):
    better = (a > b) | ((a == b) & (i < j))
    return tl.where(better, a, b), tl.where(better, i, j)


@triton.jit
def kernel(pi, pf, bi, bf, oi, of, s0, s1, M: tl.constexpr, N: tl.constexpr):
    m = tl.arange(0, M)
    n = tl.arange(0, N)
    mn = m[:, None] * N + n[None, :]
"""


@dataclass
class Variable:
    name: str
    dtype: str
    shape: str


@dataclass
class Fuzzer:
    seed: int
    lines: list[str] = field(default_factory=list)
    scope: list[Variable] = field(default_factory=list)
    count: int = 0
    depth: int = 1

    def __post_init__(self) -> None:
        self.r = random.Random(self.seed)
        self.rows, self.columns = self.r.choice([1, 2, 4, 8, 16]), self.r.choice([1, 2, 4, 8, 16, 32, 64])

    # --- text ---------------------------------------------------------------------------------

    def emit(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def name(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def sizes(self, shape: str) -> str:
        return {"mn": "M, N", "n": "N,", "m": "M,"}[shape]

    # --- expressions --------------------------------------------------------------------------

    def expression(self, dtype: str, shape: str, depth: int) -> str:
        made = (
            self.leaf(dtype, shape)
            if depth <= 0 or self.r.random() < 0.15
            else self.inner(dtype, shape, depth - 1)
        )
        return f"({made})"

    def cast(self, text: str, dtype: str) -> str:
        return f"({text}).to(tl.{DTYPES[dtype]})"

    def leaf(self, dtype: str, shape: str) -> str:
        same = [v for v in self.scope if v.dtype == dtype and v.shape == shape]
        if same and self.r.random() < 0.85:
            return self.r.choice(same).name
        if shape == "s":
            return self.cast(self.r.choice(["s0", "s1", "s0 + 1"]), dtype)
        if self.r.random() < 0.3:
            value = self.r.choice([0, 1, 2, 5])
            return f"tl.full(({self.sizes(shape)}), {value}, tl.{DTYPES[dtype]})"
        return self.cast({"mn": "(mn % 23)", "n": "n", "m": "(m * 3)"}[shape], dtype)

    def inner(self, dtype: str, shape: str, depth: int) -> str:
        choices = ["binary"] * 4 + ["where"] * 2 + ["convert", "unary", "move"]
        choices += ["spread"] * 2 if shape != "s" else []
        choices += ["reduce"] * 2 if shape != "mn" else []
        return getattr(self, self.r.choice(choices))(dtype, shape, depth)

    def binary(self, dtype: str, shape: str, depth: int) -> str:
        a, b = self.expression(dtype, shape, depth), self.expression(dtype, shape, depth)
        if dtype[0] == "f":
            return self.r.choice(
                [f"{a} + {b}", f"{a} - {b}", f"tl.maximum({a}, {b})", f"tl.minimum({a}, {b})"]
            )
        return self.cast(
            self.r.choice(
                [f"{a} + {b}", f"{a} - {b}", f"{a} * {b}", f"{a} & {b}", f"{a} | {b}", f"{a} ^ {b}", f"{a} << ({b} & 7)",
                 f"{a} >> ({b} & 7)", f"{a} // (({b} & 7) + 1)", f"{a} % (({b} & 7) + 1)", f"tl.maximum({a}, {b})",
                 f"tl.minimum({a}, {b})"]
            ),
            dtype,
        )  # fmt: skip

    def condition(self, shape: str, depth: int) -> str:
        dtype = self.r.choice(list(DTYPES))
        a, b = self.expression(dtype, shape, depth), self.expression(dtype, shape, depth)
        first = f"({a} {self.r.choice(['<', '<=', '>', '>=', '==', '!='])} {b})"
        if depth > 0 and self.r.random() < 0.3:
            return f"({first} {self.r.choice('&|^')} {self.condition(shape, depth - 1)})"
        return first

    def where(self, dtype: str, shape: str, depth: int) -> str:
        a, b = self.expression(dtype, shape, depth), self.expression(dtype, shape, depth)
        return f"tl.where({self.condition(shape, depth - 1)}, {a}, {b})"

    def convert(self, dtype: str, shape: str, depth: int) -> str:
        source = self.r.choice(list(INTS) if dtype[0] != "f" else [*INTS, "f32", "f64"])
        text = self.cast(self.expression(source, shape, depth), dtype)
        return self.settle(text, dtype) if dtype[0] == "f" else text

    def unary(self, dtype: str, shape: str, depth: int) -> str:
        a = self.expression(dtype, shape, depth)
        if dtype[0] == "f":
            return self.r.choice([f"-{a}", f"tl.abs({a})", f"{a} * 2", f"tl.floor({a})"])
        return self.r.choice(
            [
                f"~{a}",
                f"0 - {a}" if dtype[0] == "i" else f"~{a}",
                f"tl.abs({a})" if dtype[0] == "i" else f"~{a}",
            ]
        )

    def move(self, dtype: str, shape: str, depth: int) -> str:
        a = self.expression(dtype, shape, depth)
        if shape == "s":
            return a
        axis = 1 if shape == "mn" else 0
        options = [f"tl.gather({a}, ({self.index(shape)}), {axis})"]
        if (self.rows if shape == "m" else self.columns) > 1:  # the interpreter has no flip of one element
            options.append(f"tl.flip({a}, {axis})")
        if dtype[0] != "f":
            reverse = self.r.choice(["", ", reverse=True"])
            options.append(self.cast(f"tl.cumsum({a}, {axis}{reverse})", dtype))
            options.append(f"tl.associative_scan({a}, {axis}, either{reverse})")
        if shape == "mn":
            options.append(f"tl.trans(tl.reshape({a}, (N, M)))")
            options.append(f"tl.reshape(tl.trans({a}), (M, N))")
        return self.r.choice(options)

    def index(self, shape: str) -> str:
        step, size = self.r.choice([1, 3, 7]), "M" if shape == "m" else "N"
        start = {"mn": "m[:, None] + n[None, :]", "n": "n", "m": "m"}[shape]
        return f"({start}) * {step} % {size}"

    def spread(self, dtype: str, shape: str, depth: int) -> str:
        """A smaller shape broadcast."""
        if shape != "mn":
            return (
                f"{self.expression(dtype, 's', depth)} + tl.zeros(({self.sizes(shape)}), tl.{DTYPES[dtype]})"
            )
        if self.r.random() < 0.5:
            return f"tl.broadcast_to({self.expression(dtype, 'n', depth)}[None, :], (M, N))"
        return f"tl.broadcast_to({self.expression(dtype, 'm', depth)}[:, None], (M, N))"

    def reduce(self, dtype: str, shape: str, depth: int) -> str:
        source, axis = {"n": ("mn", 0), "m": ("mn", 1)}.get(shape) or (self.r.choice(["n", "m"]), 0)
        a = self.expression(dtype, source, depth)
        options = [f"tl.max({a}, {axis})", f"tl.min({a}, {axis})", f"tl.sum({a}, {axis})"]
        if dtype[0] != "f":
            options += [
                f"tl.xor_sum({a}, {axis})",
                f"tl.reduce({a}, {axis}, either)",
                f"tl.argmax({a}, {axis})",
                f"tl.argmin({a}, {axis})",
            ]
        return self.cast(self.r.choice(options), dtype)

    # --- statements ---------------------------------------------------------------------------

    def settle(self, text: str, dtype: str) -> str:
        return f"tl.minimum(tl.maximum({text}, -64), 64)" if dtype[0] == "f" else self.cast(text, dtype)

    def assign(self) -> None:
        dtype, shape = self.r.choice(list(DTYPES)), self.r.choice(SHAPES)
        variable = Variable(self.name(), dtype, shape)
        self.emit(f"{variable.name} = {self.settle(self.expression(dtype, shape, 3), dtype)}")
        self.scope.append(variable)

    def change(self, names: list[Variable]) -> None:
        variable = self.r.choice(names)
        self.emit(
            f"{variable.name} = {self.settle(self.expression(variable.dtype, variable.shape, 2), variable.dtype)}"
        )

    def body(self, statements: int) -> None:
        """Statements one level deeper: what they define is not seen outside."""
        outer = list(self.scope)
        self.depth += 1
        for _ in range(statements):
            kind = self.r.random()
            if kind < 0.2:
                self.assign()
            elif kind < 0.35:
                self.memory()
            elif kind < 0.5 and self.depth < 4:
                self.block()
            else:
                self.change(outer)
        self.change(outer)
        self.depth -= 1
        self.scope = outer

    def block(self) -> None:
        kind = self.r.choice(["for", "for", "if", "if", "while"])
        if kind == "for":
            bound = self.r.choice(["s0", "s1", "2", "s0 + 1"])
            self.emit(f"for i{self.count} in range({bound}):")
            self.body(self.r.randint(1, 2))
        elif kind == "while":
            counter = self.name()
            self.emit(f"{counter} = s0")
            self.emit(f"while {counter} > 0:")
            self.body(1)
            self.emit(f"    {counter} -= 1")
        else:
            self.emit(f"if {self.condition('s', 1)}:")
            self.body(self.r.randint(1, 2))
            if self.r.random() < 0.6:
                self.emit("else:")
                self.body(1)

    def memory(self) -> None:
        """A store to a buffer and a load of other places of it."""
        buffer, dtype = self.r.choice([("bi", "i32"), ("bf", "f32")])
        mask = self.r.choice(
            ["", f", mask=mn % 5 != {self.r.randint(0, 4)}", ", mask=n[None, :] < s1 + m[:, None] * 0"]
        )
        self.emit(f"tl.store({buffer} + mn, {self.settle(self.expression(dtype, 'mn', 2), dtype)}{mask})")
        variable = Variable(self.name(), dtype, "mn")
        place = self.r.choice(
            ["mn", "(M * N - 1 - mn)", "(n[None, :] * M + m[:, None])", "(mn + 1) % (M * N)"]
        )
        other = self.r.choice(["", ", mask=mn < s1 * N, other=3"])
        self.emit(f"{variable.name} = tl.load({buffer} + {place}{other})")
        self.scope.append(variable)

    def generate(self) -> str:
        for name, dtype, text in (("a", "i32", "tl.load(pi + mn)"), ("f", "f32", "tl.load(pf + mn)"), ("r", "i32", "tl.load(pi + n)"),
                                  ("c", "f32", "tl.load(pf + m)"), ("z", "i64", "tl.load(pi).to(tl.int64)")):  # fmt: skip
            self.emit(f"{name} = {text}")
            self.scope.append(
                Variable(name, dtype, {"a": "mn", "f": "mn", "r": "n", "c": "m", "z": "s"}[name])
            )
        for _ in range(self.r.randint(3, 7)):
            self.r.choice([self.assign, self.assign, self.block, self.memory])()
        for k, variable in enumerate(self.scope):
            out, wide = ("of", "float64") if variable.dtype[0] == "f" else ("oi", "int64")
            place = {"mn": " + mn", "n": " + n", "m": " + m", "s": ""}[variable.shape]
            self.emit(f"tl.store({out} + {k} * M * N{place}, ({variable.name}).to(tl.{wide}))")
        return HEAD + "\n".join(self.lines) + "\n"
