"""The table of the language in docs/compiler.md, made from the parameters of these tests: `python tests/compiler/table.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "compiler.md"
BEGIN, END = "<!-- table: tests/compiler/table.py -->", "<!-- end of table -->"
COLUMNS = ["bool", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f8e4m3", "f8e5m2", "f16", "bf16", "f32", "f64"]

# Why a construct has no tests in some dtypes.
NOTES = {
    "a": "Triton's front end refuses the other dtypes.",
    "b": "The operation is one of the bits of integers, or of the fractions of floats.",
    "c": "Storage only: Triton computes after a conversion; arithmetic on 8-bit floats works as f32 rounded back.",
    "d": "The draws have these dtypes.",
    "e": "The formats of the factors are e2m1, e4m3, e5m2, fp16 and bf16; the sum is f32.",
    "f": "Integers have no conversion to or from 8-bit floats in Triton: go through f32.",
}


def parameters(test: Any, name: str) -> list[Any]:
    """The values that a parametrised test takes for an argument."""
    for mark in test.pytestmark:
        if mark.name == "parametrize":
            names = [n.strip() for n in mark.args[0].split(",")] if isinstance(mark.args[0], str) else list(mark.args[0])
            if name in names:
                return [row if len(names) == 1 else row[names.index(name)] for row in mark.args[1]]
    raise LookupError(f"{test.__name__} has no parameter {name}")


def rows() -> list[tuple[str, list[str], str]]:
    """(construct, dtypes that a test covers, note on the others)."""
    import test_atomics as atomics
    import test_casts as casts
    import test_descriptors as descriptors
    import test_dot_language as dots
    import test_layout as layout
    import test_libdevice as libdevice
    import test_math as math
    import test_operators as operators
    import test_reductions as reductions
    import test_scans as scans

    ints, floats = parameters(operators.test_integer_operators, "dtype"), parameters(operators.test_float_operators, "dtype")
    out = [
        ("`+ - *`, comparisons, `where`, `minimum`, `maximum`", [*ints, *floats], "c"),
        ("`/` of floats, `%`, `clamp`, both kinds of NaN", floats, "b"),
        ("`//`, `%` of integers, at their edges", parameters(operators.test_division_at_the_edges, "dtype"), "b"),
        ("`& | ^ ~`", ["bool", *ints], "b"),
        ("`<< >>` by any amount", parameters(operators.test_shifts_as_wide_as_the_type_and_wider, "dtype"), "b"),
        ("`fma`", parameters(operators.test_fma_rounds_once, "dtype"), "a"),
        ("casts from", sorted({s for s, _ in casts.PAIRS}), "f"),
        ("casts to", sorted({t for _, t in casts.PAIRS}), "f"),
        ("casts rounding toward zero, from", parameters(casts.test_rounding_toward_zero, "source"), "a"),
        ("bitcasts", parameters(casts.test_bitcast, "source"), "a"),
    ]
    for name in math.FUNCTIONS:
        out.append((f"`{name}`", [d for n, d in math.ROWS if n == name], "a"))
    out.append(("`libdevice`: functions of floats", parameters(libdevice.test_function_of_floats, "dtype"), "a"))
    pairs = [("sum", "bool"), *reductions.PAIRS]
    for kind in reductions.KINDS:
        out.append((f"reduce: {kind}", [d for k, d in pairs if k == kind], "a" if kind not in ("xor_sum", "or") else "b"))
    for kind in parameters(scans.test_scan, "kind"):
        out.append((f"scan: {kind}, both directions", parameters(scans.test_scan, "dtype"), "a"))
    moves = ", ".join(f"`{m}`" for m in ("trans", "permute", "reshape", "join", "split", "interleave", "cat", "flip", "gather", "broadcast_to"))
    out.append((moves, parameters(layout.test_moves, "dtype"), "a"))
    out.append(("`sort`, `topk`", parameters(layout.test_order, "dtype"), "a"))
    out.append(("`histogram`", parameters(layout.test_histogram, "dtype"), "a"))
    for kind, types in atomics.TYPES.items():
        out.append((f"`atomic_{kind}`, masks, orders", list(types), "a"))
    out.append(("`atomic_cas`", parameters(atomics.test_compare_and_swap, "dtype"), "a"))
    out.append(("`dot`: four operand orders, batches, accumulators", parameters(dots.test_operand_orders, "dtype"), "a"))
    out.append(("`dot_scaled`", ["f8e4m3", "f8e5m2", "f16", "bf16"], "e"))
    out.append(("tensor descriptors", parameters(descriptors.test_load, "dtype"), "a"))
    out.append(("`rand`, `randn`, `randint`, `philox`", ["i32", "i64", "u32", "f32"], "d"))
    return out


def table() -> str:
    lines = ["| construct | " + " | ".join(COLUMNS) + " | |", "|---|" + ":-:|" * (len(COLUMNS) + 1)]
    used = []
    for construct, dtypes, note in rows():
        unknown = set(dtypes) - set(COLUMNS)
        assert not unknown, f"{construct}: {unknown}"
        cells = ["•" if c in dtypes else "" for c in COLUMNS]
        whole = "" not in cells
        if not whole:
            used.append(note)
        lines.append(f"| {construct} | " + " | ".join(cells) + f" | {'' if whole else note} |")
    lines.append("")
    lines += [f"{letter}: {NOTES[letter]}  " for letter in sorted(set(used))]
    return "\n".join(lines)


def page() -> str:
    """The page as it should be."""
    text = PAGE.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    return text[:begin] + "\n" + table() + "\n" + text[end:]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    PAGE.write_text(page())
