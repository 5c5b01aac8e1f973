# A Paddle wheel that has XPU support of its own: OpenXPU leaves the name to it and says so.

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def own_support(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library with the function by which such a wheel is known."""
    compiler = next((c for c in ("cc", "gcc", "g++", "c++", "clang") if shutil.which(c)), None)
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder: Path = tmp_path_factory.mktemp("own")
    source, library = folder / "own.c", folder / "libown.so"
    source.write_text("int _ZN3phi8backends3xpu17GetXPUDeviceCountEv(void) { return 1; }\n")
    subprocess.run([compiler, "-shared", "-fPIC", "-x", "c", str(source), "-o", str(library)], check=True)
    return str(library)


def test_the_name_is_left_alone(own_support: str, run_program: Run) -> None:
    done = run_program(
        """
import sys
import paddle
print(paddle.device.get_all_custom_device_type())
print("openxpu.paddle.naming" in sys.modules, hasattr(paddle.device._convert_to_place, "__wrapped__"))
print((paddle.ones([2]) + 1).numpy().tolist(), paddle.get_device())
""",
        LD_PRELOAD=own_support,
    )
    assert done.stdout == "[]\nFalse False\n[2.0, 2.0] cpu\n", done.stdout + done.stderr
    assert (
        "this Paddle wheel has XPU support of its own, so OpenXPU leaves the device name xpu to it"
        in done.stderr
    )


def test_counters_say_why_there_are_none(own_support: str, run_program: Run) -> None:
    done = run_program(
        "import paddle, openxpu.paddle; print(openxpu.paddle.fallbacks())", LD_PRELOAD=own_support
    )
    assert done.stdout == "{}\n", done.stdout + done.stderr
