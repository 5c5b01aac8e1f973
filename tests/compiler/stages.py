"""The stages of one kernel in docs/compiler.md, as `openxpu compile` prints them: `python tests/compiler/stages.py`."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
PAGE = Path(__file__).parent.parent.parent / "docs" / "compiler.md"
BEGIN, END = "<!-- stages: tests/compiler/stages.py -->", "<!-- end of stages -->"
TARGET = "x86-64-v4"
SOURCE = """@triton.jit
def scale(x, out, n, k, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + offs, tl.load(x + offs, mask=offs < n) * k, mask=offs < n)
"""
LEFT_OUT = ("object:", "compile time:", "registers:", "spills:")  # they change with LLVM's version


def innermost(asm: str) -> str:
    """The block of assembly with the most full-width products: the unrolled loop."""
    blocks = re.split(r"^(?=\.L\w+:)", asm, flags=re.MULTILINE)
    best = max(blocks, key=lambda b: len(re.findall(r"\tvmulps\t.*%zmm", b)))
    lines = [line.split("#")[0].rstrip().expandtabs(8) for line in best.splitlines()]
    return "\n".join(line for line in lines if line and not line.strip().startswith(".p2align"))


def block(text: str) -> str:
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    return textwrap.indent("\n".join(lines), "    ") + "\n"


def prose(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False) + "\n"


def section() -> str:
    from written import kernel

    from openxpu.compiler.inspect import report, summary_text

    made = report(kernel(SOURCE, "scale"), ["*fp32", "*fp32", "i32", "fp32"], {"BLOCK": 256}, TARGET)
    summary = [line for line in summary_text(made).splitlines() if not line.startswith(LEFT_OUT)]
    command = f"openxpu compile scale.py:scale --signature '*fp32,*fp32,i32,fp32' --constexpr BLOCK=256 --target {TARGET}"
    parts = [
        block(SOURCE),
        block(command),
        prose("prints what follows, and the LLVM IR, which is too long for this page. Triton's TTIR:"),
        block(made.stages["ttir"]),
        prose("The tile IR, after inlining and simplification:"),
        block(made.stages["tile"]),
        prose(
            "The schedule. `affine.py` has found the addresses `x + 256 pid + i`, with coefficient 1 along the tile's only "
            "dimension, and the mask `i < n - 256 pid`, a prefix. So there is one nest with the store as its root; load and "
            "product are *lazy*, computed where the root needs them, and no tile lies in scratch:"
        ),
        block(made.stages["schedule"]),
        prose(
            "`nest.py` emits a loop over whole vectors as far as the prefix reaches, unmasked, four vectors a turn, then one "
            "vector at a time with a mask. LLVM makes of the first loop:"
        ),
        block(innermost(made.stages["asm"])),
        prose("And the summary, but for what depends on LLVM's version and the machine:"),
        block("\n".join(summary)),
    ]
    return "\n".join(parts)


def page() -> str:
    """The page as it should be."""
    text = PAGE.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    return text[:begin] + "\n" + section() + text[end:]


if __name__ == "__main__":
    PAGE.write_text(page())
