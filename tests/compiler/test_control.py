"""Control flow on scalars and tiles against Triton's interpreter: branches, loops, calls, early returns, tuples, constants."""

import numpy as np
import pytest
from harness import launch
from interpreter import interpret
from written import kernel

# name -> body: v is a tile of 16 i32, s a scalar i32, n a small count; what it leaves in v and s is stored
BODIES = {
    "if else on tiles": """
        if n % 2 == 0:
            v = v * 3
            s = s + 1
        else:
            v = tl.flip(v)
            s = s - 1
    """,
    "if without else": """
        w = v
        if n > 2:
            w = v + tl.sum(v)
        v = w + v
    """,
    "nested ifs": """
        if n > 1:
            if n > 3:
                v = v + 1
            elif n == 3:
                v = v * v
            else:
                s = s * 2
        else:
            v = -v
    """,
    "loop that carries tiles of two shapes": """
        w = tl.reshape(v, (4, 4))
        for i in range(n):
            w = tl.trans(w) + i
            v = v + tl.reshape(w, (16,))
            s += tl.max(v)
    """,
    "tiles that change places": """
        w = v * 2
        for i in range(n):
            v, w = w, v + i
        v = v - w
    """,
    "rotation of three": """
        a = v
        b = v + 1
        c = v * 2
        for i in range(n):
            a, b, c = b, c, a
        v = a * 100 + b * 10 + c
    """,
    "carried tile read at other places": """
        for i in range(n):
            v = v + tl.flip(v) * 2 + tl.sum(v)
    """,
    "cumulative sums in a loop": """
        for i in range(n):
            v = tl.cumsum(v) - tl.gather(v, (offs + 1) % 16, 0)
    """,
    "nested loops": """
        for i in range(n):
            for j in range(i):
                v = v + i * j
                if j == 1:
                    s += i
            v = v ^ s
    """,
    "while on a scalar": """
        while s > n:
            s = s // 2
            v = v + s
    """,
    "while on a reduction": """
        while tl.max(v) > n * 10:
            v = v // 2
    """,
    "while with a condition of two parts": """
        k = 0
        while (k < n) & (s < 1000):
            s = s * 2 + 1
            k += 1
        v = v + k
    """,
    "loop downwards": """
        for i in range(n, -1, -1):
            v = v * 2 + i
    """,
    "loop with a step": """
        for i in range(1, n * 3, 2):
            s += i
            v = tl.where(offs == i, s, v)
    """,
    "tl.range with options": """
        for i in tl.range(0, n, num_stages=3, loop_unroll_factor=2):
            v += i
        for i in tl.range(n, flatten=True, disallow_acc_multi_buffer=True):
            s += i
    """,
    "static_range": """
        for i in tl.static_range(3):
            v = v * (i + 1)
        for i in tl.static_range(4, 0, -2):
            s += i
    """,
    "pointers that move": """
        q = p + offs
        for i in range(n):
            v += tl.load(q)
            q += 1
            s += tl.load(q - offs).to(tl.int32).sum() * 0
    """,
    "induction variable of 64 bits": """
        for i in range(tl.cast(n, tl.int64)):
            s += tl.cast(i, tl.int32)
            v += tl.cast(i * 3, tl.int32)
    """,
    "inline function with a tuple": """
        a, b = both(v, n)
        (c, d), e = nested(a, b)
        v = c + d * e
    """,
    "tuple in a loop": """
        t = (v, s)
        for i in range(n):
            t = (t[0] + t[1], t[1] + 1)
        v = t[0]
        s = t[1]
    """,
    "early return of an inlined function": """
        s = early(s, n)
        for i in range(n):
            s += early(i, 2)
        v = v + s
    """,
    "noinline": """
        s = out_of_line(s, n)
        v = v + s
    """,
    "recursion that ends at compile time": """
        s += factorial(5)
    """,
    "constexpr functions": """
        k: tl.constexpr = twice(4)
        v = v + k + tl.full((16,), k, tl.int32)
        if k == 8:
            s += 1
    """,
    "conditional expressions": """
        s = s + 1 if n > 2 else s - 1
        v = v if s > 3 else v + 5
        s = (s if n == 1 else n) * 2
    """,
    "and, or, not": """
        if (n > 1 and s > 0) or not (n == 0):
            s = s + 10
        if not (n > 1):
            v = v + 1
    """,
    "chained comparison": """
        if 0 < n and n < 3:
            s = 7
        v = tl.where((v > 0) & (v < 10), v, 0)
    """,
    "scalar stores and loads": """
        tl.store(out + 15, s)
        tl.store(out + 16, tl.load(out + 15) + 1)
        s = tl.load(out + 16)
    """,
    "min and max of scalars": """
        s = max(s, n) - min(s, n)
        s = tl.maximum(s, 3) + tl.minimum(n, 2)
        v = v + tl.cdiv(n, 2)
    """,
    "lambda-like function as an argument": """
        v = apply(v, twice_run_time)
    """,
    "reduction inside a branch": """
        if tl.sum(v) % 2 == 0:
            s += tl.max(v)
        else:
            s += tl.argmin(v, 0)
    """,
    "loop over a loaded bound": """
        for i in range(tl.load(p) % 5):
            v += i
    """,
    "program ids": """
        s = tl.program_id(0) + 10 * tl.num_programs(0) + tl.program_id(1) * 100 + tl.num_programs(2)
    """,
}  # fmt: skip
HEAD = """
@triton.jit
def both(a, n):
    return a + n, a - n


@triton.jit
def nested(a, b):
    return (a, b), 3


@triton.jit
def early(a, b):
    if a > b:
        return a * 2
    if a == b:
        return 100
    return a + b


@triton.jit(noinline=True)
def out_of_line(a, b):
    if a > b:
        return a - b
    return b


@triton.jit
def factorial(n: tl.constexpr):
    if n <= 1:
        return 1
    else:
        return n * factorial(n - 1)


@triton.constexpr_function
def twice(n):
    return n * 2


@triton.jit
def twice_run_time(x):
    return x + x


@triton.jit
def apply(x, f: tl.constexpr):
    return f(f(x))


@triton.jit
def kernel(p, out, s, n):
    offs = tl.arange(0, 16)
    v = tl.load(p + offs)
BODY
    tl.store(out + offs, v)
    tl.store(out + 16, s)
"""


@pytest.mark.parametrize("name", BODIES)
def test_body(name):
    body = "\n".join(line[4:] for line in BODIES[name].splitlines())
    ref = kernel(HEAD.replace("BODY", body))
    p = np.random.default_rng(1).integers(-9, 20, 32).astype("i4")
    for s, n in ((5, 0), (1, 1), (9, 2), (-3, 3), (100, 5)):
        for order in ((1,), (2, 2)) if name == "program ids" else ((1,),):
            out = np.zeros(17, "i4")
            expected = interpret(ref, order, p, out.copy(), s, n)[1]
            launch(ref, order, p, out, s, n)
            np.testing.assert_array_equal(out, expected, err_msg=f"s={s} n={n}")


RETURNS = """
@triton.jit
def kernel(p, out, n):
    offs = tl.arange(0, 8)
    v = tl.load(p + offs)
    if n == 0:
        return
    if n > 2:
        tl.store(out + offs, v * 2)
        if n > 3:
            return
        v = v + 1
    tl.store(out + 8 + offs, v + n)
    if tl.sum(v) > 1000:
        return
    tl.store(out + 16 + offs, tl.cumsum(v))
"""


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("big", [0, 1000])
def test_early_returns_of_the_kernel(n, big):
    p, out = np.arange(8).astype("i4") + big, np.full(24, -1, "i4")
    expected = interpret(kernel(RETURNS), (1,), p, out.copy(), n)[1] if n not in (0, 4) else None
    launch(kernel(RETURNS), (1,), p, out, n)
    if expected is None:
        expected = np.full(24, -1, "i4")
        if n:
            expected[:8] = p * 2
    if big and n not in (0, 4):
        expected[16:] = -1
    np.testing.assert_array_equal(out, expected)


MAPPED = """
@triton.jit
def collatz(x, limit):
    steps = 0
    while x > 1 and steps < limit:
        if x % 2 == 0:
            x = x // 2
        else:
            x = 3 * x + 1
        steps += 1
    return steps, x


@triton.jit
def selu(x, alpha):
    if x > 0:
        return x
    return alpha * (tl.exp(x) - 1)


@triton.jit
def swap(a, b, c, d):
    return b + c * 0, a + d * 0


@triton.jit
def kernel(p, out, f, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    v = tl.load(p + offs)
    steps, last = tl.map_elementwise(collatz, v, tl.full((BLOCK,), 50, tl.int32))
    tl.store(out + offs, steps)
    tl.store(out + BLOCK + offs, last)
    tl.store(out + 2 * BLOCK + offs, tl.map_elementwise(swap, v, v, pack=2)[0])
    x = tl.load(f + offs)
    tl.store(f + offs, tl.map_elementwise(selu, x, tl.full((BLOCK,), 2.0, tl.float32)))
"""


@pytest.mark.parametrize("block", [2, 64])
def test_map_elementwise(block):
    p, f = np.arange(1, block + 1, dtype="i4"), np.random.default_rng(1).standard_normal(block).astype("f4")
    out, mapped = np.zeros((3, block), "i4"), f.copy()
    launch(kernel(MAPPED), (1,), p, out, mapped, BLOCK=block)

    def collatz(x):
        steps = 0
        while x > 1 and steps < 50:
            x, steps = (x // 2 if x % 2 == 0 else 3 * x + 1), steps + 1
        return steps, x

    np.testing.assert_array_equal(out[:2].T, [collatz(int(x)) for x in p])
    np.testing.assert_array_equal(out[2], p.reshape(-1, 2)[:, ::-1].ravel())
    np.testing.assert_allclose(mapped, np.where(f > 0, f, 2 * np.expm1(f)), rtol=1e-5, atol=1e-6)


SCALARS = """
@triton.jit
def kernel(out, a, b, c, d):
    tl.store(out, a.to(tl.float64))
    tl.store(out + 1, b.to(tl.float64))
    tl.store(out + 2, c.to(tl.float64))
    tl.store(out + 3, d.to(tl.float64))
    tl.store(out + 4, (a * 2 + b).to(tl.float64) + c * d)
"""


def test_scalar_arguments_of_every_type():
    from harness import Typed

    out = np.zeros(5, "f8")
    for a, b, c, d in ((Typed("i64", -(2**40)), Typed("u32", 2**32 - 1), 1.5, Typed("f64", 1e-300)),
                       (Typed("i8", -5), Typed("u8", 250), Typed("f64", 2.0), 0.25),
                       (Typed("u64", 2**63), Typed("u16", 65535), -0.5, 3.0), (Typed("bool", 1), Typed("i16", -7), 1.0, 2.0)):  # fmt: skip
        launch(kernel(SCALARS), (1,), out, a, b, c, d)
        numbers = [float(getattr(x, "value", x)) for x in (a, b, c, d)]
        np.testing.assert_allclose(out[:4], numbers, rtol=1e-7)
