# Every registered phi kernel has a row, or a reason why it has none.
from __future__ import annotations

from typing import Any

from conformance.dtypes import CLAIMED
from conformance.exceptions import EXCEPTIONS
from conformance.tables import ROWS

import openxpu.paddle


def test_every_kernel_has_a_row(paddle_xpu: Any) -> None:
    covered = {kernel for row in ROWS for kernel in row.kernels}
    registered = {k for k, group in openxpu.paddle.registered_kernels().items() if group != "custom"}
    without = sorted(registered - covered - set(EXCEPTIONS))
    assert not without, (
        f"no row in tests/ops/conformance/rows names {', '.join(without)}; write one (docs/add-an-operator.md, 4), or "
        "give the reason why there cannot be one in tests/ops/conformance/exceptions.py"
    )
    assert not set(EXCEPTIONS) & covered, "these have a row and are exceptions"
    assert set(EXCEPTIONS) <= registered, "these exceptions are no kernels (any more)"


def test_the_lines_say_what_is_registered(paddle_xpu: Any) -> None:
    """Rows take their dtypes from the .inc files, so the built plug-in must be theirs."""
    assert {k: set(d) for k, d in openxpu.paddle.kernel_dtypes().items() if d} == {
        k: set(d) for k, d in CLAIMED.items()
    }, "build the plug-in again"


def test_dtypes_left_out_have_reasons() -> None:
    """A row runs every dtype of its kernel's line, unless another row does or it says why not."""
    run: dict[str, set[str]] = {}
    for row in ROWS:
        for kernel in (row.kernel, *row.also):
            run.setdefault(kernel, set()).update(row.dtypes, row.without)
    missing = {k: sorted(set(CLAIMED[k]) - d) for k, d in run.items() if k in CLAIMED and set(CLAIMED[k]) - d}
    assert not missing
