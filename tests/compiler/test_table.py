"""docs/compiler.md shows the table and the stages that these tests make."""

import numpy as np
import pytest
import stages
import table
from harness import launch
from values import DTYPES, FLOATS, FP8, INTS
from written import kernel, rows

from openxpu.compiler.tile_ir import CompileError


def test_the_page_has_the_table_of_the_tests():
    assert table.PAGE.read_text() == table.page(), "run python tests/compiler/table.py"


def test_the_page_has_the_stages_of_its_kernel():
    assert stages.PAGE.read_text() == stages.page(), "run python tests/compiler/stages.py"


def test_every_hole_is_explained():
    for construct, dtypes, note in table.rows():
        assert set(dtypes) == set(table.COLUMNS) or note in table.NOTES, construct


REFUSED = {  # samples of note a
    "a // b": (*FLOATS, *FP8), "a & b": (*FLOATS, *FP8), "a << b": FLOATS, "tl.exp(a)": (*INTS, *FP8, "f16", "bf16"),
    "tl.histogram(a, 4).sum() + offs": ("i8", "i64", "f32"), "tl.atomic_add(pa + offs, a)": ("i8", "i16", "u8"),
    "tl.atomic_max(pa + offs, a)": ("f16", "bf16"), "a.to(tl.float8e5)": INTS,
}  # fmt: skip


@pytest.mark.parametrize(("expression", "dtype"), [(e, d) for e, dtypes in REFUSED.items() for d in dtypes])
def test_what_the_page_says_is_refused_is(expression, dtype):
    a = np.zeros(4, DTYPES[dtype])
    with pytest.raises(CompileError, match="Triton could not compile"):
        launch(kernel(rows([expression])), (1,), a, a, np.zeros(4, "f4"), 4, BLOCK=4)
