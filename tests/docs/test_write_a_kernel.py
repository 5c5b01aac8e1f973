"""docs/write-a-kernel.md runs as it stands: its Python as one program, its commands on that program's file."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent.parent / "docs" / "write-a-kernel.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def run(command, folder):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    program = "import openxpu.triton\n\nopenxpu.triton.register()\n" + "\n".join(blocks("python"))
    (folder / "kernels.py").write_text(program)
    return folder


def test_program(folder):
    assert len(blocks("python")) >= 7
    printed = run([sys.executable, "kernels.py"], folder)
    assert "of ceiling" in printed


def test_commands_say_what_the_page_says(folder):
    (command,) = blocks("sh")
    words = shlex.split(command)
    assert words[0] == "openxpu"
    printed = run([sys.executable, "-m", "openxpu.cli", *words[1:]], folder)
    assert "bytes loaded by a program: 32 768 f32" in printed
    assert "bytes stored by a program: 16 384 f32" in printed
    assert "scratch: 0 bytes" in printed
    assert "gather:" not in printed


@pytest.mark.parametrize(
    ("kernel", "signature", "constexprs", "found", "absent"),
    [
        ("softmax", "*fp32,*fp32,i32", ["BLOCK=1024"], "4 096 bytes for", "gather:"),
        ("linear_gelu", "*fp32,*fp32,*fp32,*fp32,i32,i32,i32", [], "math.erf", "gather:"),
        ("layer_norm", "*fp32,*fp32,*fp32,*fp32,i32,fp32", ["BLOCK=1024"], "4 096 bytes for", "gather:"),
        ("attention", "*fp32,*fp32,*fp32,*fp32,i32,fp32", ["DIM=64", "BM=64", "BN=64"], "carried by a loop", "not exact"),
    ],
)  # fmt: skip
def test_what_the_page_says_of_scratch_and_fusion(folder, kernel, signature, constexprs, found, absent):
    constants = [word for c in constexprs for word in ("--constexpr", c)]
    command = [
        sys.executable,
        "-m",
        "openxpu.cli",
        "compile",
        f"kernels.py:{kernel}",
        "--signature",
        signature,
    ]
    printed = run([*command, *constants, "--stage", "summary"], folder)
    assert found in printed
    assert absent not in printed
