"""The table of the language in docs/compiler.md, made from the parameters of these tests: `python tests/compiler/table.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "compiler.md"
BEGIN, END = "<!-- table: tests/compiler/table.py -->", "<!-- end of table -->"
COLUMNS = [
    "bool",
    "i8",
    "i16",
    "i32",
    "i64",
    "u8",
    "u16",
    "u32",
    "u64",
    "f8e4m3",
    "f8e5m2",
    "f16",
    "bf16",
    "f32",
    "f64",
]

# Why a construct has no tests in some dtypes.
NOTES = {
    "a": "Triton's front end refuses the other dtypes.",
    "b": "Bools are computed in one bit, as Triton says: convert them first. The front end refuses what else is missing.",
    "c": "A bitcast keeps the width: 8 bits and so on.",
    "d": "The draws have these dtypes.",
    "e": "Factors are e2m1 (in bytes), e4m3, e5m2, fp16 and bf16; the sum is f32.",
    "g": "From the others nothing is narrower, or Triton's front end refuses.",
    "f": "Casts between integers and 8-bit floats are refused by Triton's front end: go through f32.",
}


def parameters(test: Any, name: str) -> list[Any]:
    """The values that a parametrised test takes for an argument."""
    for mark in test.pytestmark:
        if mark.name == "parametrize":
            names = (
                [n.strip() for n in mark.args[0].split(",")]
                if isinstance(mark.args[0], str)
                else list(mark.args[0])
            )
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

    ints, floats = (
        parameters(operators.test_integer_operators, "dtype"),
        parameters(operators.test_float_operators, "dtype"),
    )
    small = parameters(operators.test_arithmetic_on_8_bit_floats_is_that_of_f32_rounded_back, "dtype")
    out = [
        (
            "`+ - * %`, `-x`, comparisons, `where`, `minimum`, `maximum`, `clamp`, `abs`",
            [*ints, *floats, *small],
            "b",
        ),
        ("`/` of floats, with NaN propagated or not", floats, "a"),
        ("`//`, also at the edges", parameters(operators.test_division_at_the_edges, "dtype"), "b"),
        ("`&`, `\\|`, `^`, `~`", ["bool", *ints], "a"),
        (
            "`<<`, `>>` by any amount",
            parameters(operators.test_shifts_as_wide_as_the_type_and_wider, "dtype"),
            "b",
        ),
        ("`fma`", parameters(operators.test_fma_rounds_once, "dtype"), "a"),
        ("casts from (to all dtypes but for f)", sorted({s for s, _ in casts.PAIRS}), "f"),
        ("casts rounding toward zero, from", parameters(casts.test_rounding_toward_zero, "source"), "g"),
        ("bitcasts", parameters(casts.test_bitcast, "source"), "c"),
        *grouped(
            "",
            {f"`{name}`": [d for n, d in math.ROWS if n == name] for name in math.FUNCTIONS if name != "abs"},
        ),
        ("`libdevice`: functions of floats", parameters(libdevice.test_function_of_floats, "dtype"), "a"),
        ("`libdevice`: bits of integers", parameters(libdevice.test_bits_of_integers, "dtype"), "a"),
        *grouped(
            "reduce: ", {kind: [d for k, d in reductions.PAIRS if k == kind] for kind in reductions.KINDS}
        ),
        (
            "scan, both directions: " + ", ".join(parameters(scans.test_scan, "kind")),
            parameters(scans.test_scan, "dtype"),
            "a",
        ),
        ("moves: " + ", ".join(layout.MOVES), parameters(layout.test_moves, "dtype"), "a"),
        ("`sort`, `topk`", parameters(layout.test_order, "dtype"), "a"),
        ("`histogram`", parameters(layout.test_histogram, "dtype"), "a"),
        *grouped("", {f"`atomic_{kind}`": list(types) for kind, types in atomics.TYPES.items()}),
        ("`atomic_cas`", parameters(atomics.test_compare_and_swap, "dtype"), "a"),
        ("`dot`: operand orders, batches, accumulators", parameters(dots.test_operand_orders, "dtype"), "a"),
        ("`dot_scaled`", ["f8e4m3", "f8e5m2", "f16", "bf16"], "e"),
        ("tensor descriptors", parameters(descriptors.test_load, "dtype"), "a"),
        ("`rand`, `randn`, `randint`, `philox`", ["i32", "i64", "u32", "f32"], "d"),
    ]
    return out


def grouped(head: str, constructs: dict[str, list[str]]) -> list[tuple[str, list[str], str]]:
    """One row for constructs that have the same dtypes."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for construct, dtypes in constructs.items():
        groups.setdefault(tuple(c for c in COLUMNS if c in dtypes), []).append(construct)
    return [(head + ", ".join(names), list(dtypes), "a") for dtypes, names in groups.items()]


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
