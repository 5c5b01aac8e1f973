# Every row of the tables: a few cases on every change, all of them in the slow set.
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import paddle
import pytest
from conformance import engine, programs
from conformance.report import REPORT
from conformance.row import Case, Row, cases, fast_cases
from conformance.tables import ROWS

from openxpu import _runtime

# NaN in every floating type, -1 in every signed one: what a kernel leaves unwritten, or reads before it was written, shows.
POISON = 255
SHOWN = 5  # failures of one test that are described


@pytest.fixture(scope="module", autouse=True)
def poisoned(paddle_xpu: Any) -> Iterator[None]:
    """The card in dynamic mode, with junk in fresh memory."""
    paddle.disable_static()
    paddle.set_device("xpu")
    _runtime.set_poison(POISON)
    yield
    _runtime.set_poison(-1)
    REPORT.write()


def attempt(checks: Iterable[tuple[Callable[[Case], None], Case]], sample: bool = False) -> None:
    """Runs all checks and fails with what the first few said. In a sample no case may be refused by both devices."""
    failures: list[str] = []
    refused: list[str] = []
    count = 0
    for function, case in checks:
        count += 1
        try:
            function(case)
        except engine.Mismatch as error:
            failures.append(str(error))
        except engine.Refused as error:
            refused.append(str(error))
        except Exception as error:
            failures.append(f"{case.id}: {engine.brief(error)}")
    if refused and (sample or len(refused) == count):
        failures += [f"both devices refuse the case: {sentence}" for sentence in refused]
    if failures:
        shown = "\n".join(failures[:SHOWN])
        more = f"\n... and {len(failures) - SHOWN} more" if len(failures) > SHOWN else ""
        pytest.fail(f"{len(failures)} of {count} cases:\n{shown}{more}", pytrace=False)


def checked(row: Row) -> Callable[[Case], None]:
    """What compares the cases of a row."""
    return engine.check_law if row.law is not None else engine.check


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_sample(row: Row) -> None:
    """Two to four cases."""
    attempt(((checked(row), case) for case in fast_cases(row)), sample=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("row", "dtype"), [pytest.param(r, d, id=f"{r.name}-{d}") for r in ROWS for d in r.dtypes]
)
def test_all_cases(row: Row, dtype: str) -> None:
    """All shapes, attributes, views and extreme values."""
    for name, reason in row.without.items():
        REPORT.skipped(row, name, reason)
    attempt((checked(row), case) for case in cases(row, dtype))


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_again(row: Row) -> None:
    """The same bits from the same input."""
    if row.law is not None:
        pytest.skip("the law's check draws twice")
    largest = max(cases(row, row.dtypes[0]), key=lambda c: c.numel)
    attempt((engine.check_again, case) for case in [largest, *fast_cases(row)])


@pytest.mark.slow
@pytest.mark.parametrize("row", [r for r in ROWS if r.inplace is not None], ids=lambda r: r.name)
def test_in_place(row: Row) -> None:
    """The in-place variant."""
    same = [c for c in cases(row, row.dtypes[0]) if c.layout == "contiguous" and len(set(c.shapes)) == 1]
    chosen = [Case(row, d, c.shapes, c.attrs) for d in row.dtypes for c in same[:3]]
    attempt((engine.check_in_place, case) for case in chosen)


@pytest.mark.slow
@pytest.mark.parametrize(
    "row", [r for r in ROWS if "f64" in r.backward_dtypes and r.finite], ids=lambda r: r.name
)
def test_finite_differences(row: Row) -> None:
    """Gradients in f64."""
    small = [
        c for c in cases(row, "f64") if 1 <= c.numel <= 600 and not c.extreme and c.layout == "contiguous"
    ]
    attempt((engine.check_finite_differences, case) for case in small[:3])


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_program(row: Row) -> None:
    """A static program, with its gradients."""
    if row.static is not True:
        REPORT.skipped(row, "program", str(row.static))
        pytest.skip(str(row.static))
    attempt([(programs.check_program, fast_cases(row)[0])])


@pytest.mark.slow
@pytest.mark.parametrize("row", [r for r in ROWS if r.inputs and r.law is None], ids=lambda r: r.name)
def test_inference(row: Row, tmp_path: Any) -> None:
    """A saved program under Paddle Inference."""
    if row.static is not True or row.inference is not True:
        pytest.skip(str(row.inference if row.static is True else row.static))
    attempt([(lambda case: programs.check_inference(case, tmp_path), fast_cases(row)[0])])
