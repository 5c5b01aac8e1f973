"""The accuracy of functions in docs/compiler.md, measured against wider arithmetic: `python tests/compiler/accuracy.py`."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
PAGE = Path(__file__).parent.parent.parent / "docs" / "compiler.md"
BEGIN, END = "<!-- accuracy: tests/compiler/accuracy.py -->", "<!-- end of accuracy -->"
POINTS = 1 << 14
# Where tl's functions are measured; libdevice's have their ranges in test_libdevice.py.
RANGES = {
    "exp": (-87, 88), "exp2": (-126, 127), "log": (1e-30, 1e30), "log2": (1e-30, 1e30), "sin": (-1000, 1000), "cos": (-1000, 1000),
    "sqrt": (1e-30, 1e30), "rsqrt": (1e-30, 1e30), "erf": (-4, 4), "sigmoid": (-80, 80),
}  # fmt: skip
# Of these NumPy's wider arithmetic would have to know pi.
NOT_IN_F64 = {"sinpi", "cospi"}


def functions() -> dict[str, tuple]:
    """ "tl.exp" or "libdevice.acos" -> (reference, low, high); exact functions are left out."""
    import test_libdevice
    import test_math

    out = {f"tl.{n}": (test_math.FUNCTIONS[n][0], *span) for n, span in RANGES.items()}
    for name, (reference, low, high, ulps) in test_libdevice.FUNCTIONS.items():
        if ulps and name not in RANGES:
            out[f"libdevice.{name}"] = (reference, low, high)
    return out


def points(low: float, high: float, kind: str) -> np.ndarray:
    """Evenly over the range; where it spans many magnitudes, evenly over them."""
    rng = np.random.default_rng(5)
    if low > 0 and high / low > 1e6:
        return np.exp(rng.uniform(math.log(low), math.log(high), POINTS)).astype(kind)
    return rng.uniform(low, high, POINTS).astype(kind)


def error(name: str, dtype: str) -> float | None:
    """The largest error in units of the last place; None where nothing more accurate is at hand."""
    from harness import launch
    from values import DTYPES
    from written import kernel, rows

    reference, low, high = functions()[name]
    kind = DTYPES[dtype]
    if dtype == "f64" and (".fast_" in name or name.partition(".")[2] in NOT_IN_F64):
        return None
    x = points(low, high, kind.str)
    try:
        with np.errstate(all="ignore"):
            exact = reference(x.astype("f8" if dtype == "f32" else np.longdouble))
    except TypeError:  # of SciPy, in f64 at most
        return None
    if dtype == "f64" and exact.dtype != np.longdouble:
        return None
    out = np.zeros((1, POINTS), kind)
    launch(kernel(rows([f"{name}(a)"], 1)), (1,), x, out, POINTS, BLOCK=POINTS)
    rounded = np.abs(exact.astype(kind))
    good = np.isfinite(rounded) & (rounded > np.finfo(kind).tiny)
    return float((np.abs(out[0].astype(exact.dtype) - exact)[good] / np.spacing(rounded[good])).max())


def table() -> str:
    lines = ["| function | measured over | f32 | f64 |", "|---|---|--:|--:|"]
    for name, (_, low, high) in functions().items():
        cells = []
        for dtype in ("f32", "f64"):
            worst = error(name, dtype)
            cells.append("" if worst is None else f"{math.ceil(worst * 10) / 10:.1f}")
        lines.append(f"| `{name}` | {low:g} to {high:g} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def stated() -> dict[tuple[str, str], float]:
    """What the page says: (function, dtype) -> ulps."""
    text = PAGE.read_text()
    found = {}
    for name, f32, f64 in re.findall(
        r"^\| `([\w.]+)` \| [^|]* \| ([\d.]*) \| ([\d.]*) \|$", text[text.index(BEGIN) :], re.MULTILINE
    ):
        found |= {(name, d): float(v) for d, v in (("f32", f32), ("f64", f64)) if v}
    return found


def write() -> None:
    text = PAGE.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    PAGE.write_text(text[:begin] + "\n" + table() + "\n" + text[end:])


if __name__ == "__main__":
    write()
