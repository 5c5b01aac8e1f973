"""docs/compiler.md states the accuracy that functions have."""

import accuracy
import pytest

STATED = accuracy.stated()


def test_every_function_is_stated():
    assert {name for name, dtype in STATED if dtype == "f32"} == set(accuracy.functions())


@pytest.mark.parametrize(("name", "dtype"), sorted(STATED))
def test_function_is_as_accurate_as_stated(name, dtype):
    # Functions of f64 come from the C library, which differs a little from machine to machine.
    measured = accuracy.error(name, dtype)
    assert measured <= 1.25 * STATED[name, dtype] + 0.1
    assert STATED[name, dtype] <= 2 * measured + 0.5, "run python tests/compiler/accuracy.py"
