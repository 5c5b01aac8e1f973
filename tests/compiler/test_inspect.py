"""`openxpu compile`: the stages and figures of kernels, and its sentences for what it cannot compile."""

import json
import subprocess
import sys

import pytest

from openxpu.cli import main
from openxpu.compiler.inspect import DEFAULT_STAGES, InspectError, registers, report, spills, summary_text

SOURCE = """
import triton
import triton.language as tl


@triton.jit
def scale(x, out, n, k, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + offs, tl.load(x + offs, mask=offs < n) * k, mask=offs < n)


@triton.autotune([triton.Config({"BLOCK": 64}), triton.Config({"BLOCK": 128})], key=["n"])
@triton.heuristics({"EVEN": lambda a: a["n"] % a["BLOCK"] == 0})
@triton.jit
def tuned(x, n, BLOCK: tl.constexpr, EVEN: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + offs, 1.0, mask=EVEN or offs < n)


@triton.jit
def softmax(x, out, cols, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    v = tl.load(x + tl.program_id(0) * cols + offs, mask=offs < cols, other=-float("inf"))
    e = tl.exp(v - tl.max(v, 0))
    tl.store(out + tl.program_id(0) * cols + offs, e / tl.sum(e, 0), mask=offs < cols)


@triton.jit
def matmul(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    acc = tl.zeros((BM, BN), tl.float32)
    for start in range(0, K, BK):
        acc += tl.dot(tl.load(a + m[:, None] * K + (start + k)[None, :]), tl.load(b + (start + k)[:, None] * N + n[None, :]))
    tl.store(c + m[:, None] * N + n[None, :], acc)


@triton.jit
def permute(x, index, out, step, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    j = tl.load(index + i, mask=i < n)
    tl.store(out + i * step, tl.load(x + j, mask=i < n), mask=i < n)


def plain(x):
    return x
"""
SCALE = ["*fp32", "*fp32", "i32", "fp32"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("inspected") / "inspected_kernels.py"
    file.write_text(SOURCE)
    return str(file)


def entries(made):
    return {(e["kind"], e["dtype"]): (e["count"], e["times"]) for e in made.summary["per_program"]}


@pytest.mark.parametrize(("target", "lanes", "register"), [("x86-64-v3", 8, "ymm"), ("x86-64-v4", 16, "zmm")])
def test_stages_and_figures_of_an_element_wise_kernel(path, target, lanes, register):
    made = report(f"{path}:scale", SCALE, {"BLOCK": 256}, target)
    assert set(DEFAULT_STAGES) - {"summary"} <= set(made.stages)
    assert "tt.load" in made.stages["ttir"]
    assert "tile<256xf32>" in made.stages["tile"]
    assert "define" in made.stages["llvm"]
    assert register in made.stages["asm"]
    assert entries(made) == {
        ("load", "f32"): (1024, []),
        ("store", "f32"): (1024, []),
        ("flop", "f32"): (256, []),
    }
    (nest,) = [n for n in made.schedule[0] if n["step"] == "nest"]
    assert (nest["shape"], nest["lane"], nest["width"]) == ([256], 0, lanes)
    assert nest["loads"][0]["access"] == "contiguous"
    assert nest["roots"][0]["access"] == "contiguous"
    assert made.summary["scratch_bytes"] == 0
    assert made.summary["gathers"] == []
    assert made.summary["object_bytes"] > 0
    assert made.summary["registers"]["vector"] > 0
    assert set(made.summary["seconds"]) == {"TTIR", "tile IR", "schedule", "emit", "LLVM passes", "LLVM code"}


def test_what_lies_in_scratch_and_why(path):
    made = report(f"{path}:softmax", ["*fp32", "*fp32", "i32"], {"BLOCK": 512})
    (place,) = made.summary["scratch"]
    assert place["bytes"] == 2048
    assert "costs more than reading it back" in place["why"]
    assert any("math.exp" in f["operations"] and "tt.reduce" in f["into"] for f in made.summary["fused"])
    # max and sum: 511 each; difference, exp and quotient: 512 each
    assert entries(made)["flop", "f32"] == (2 * 511 + 3 * 512, [])


def test_loops_are_written_with_the_names_of_the_arguments(path):
    made = report(
        f"{path}:matmul", ["*bf16", "*bf16", "*fp32", "i32", "i32", "i32"], {"BM": 32, "BN": 64, "BK": 16}
    )
    assert entries(made)["load", "bf16"] == (2 * (32 * 16 + 16 * 64), ["ceil(K / 16)"])
    assert entries(made)["dot", "bf16"] == (2 * 32 * 64 * 16, ["ceil(K / 16)"])
    assert "32 x 64, depth 16, bf16 x bf16 into f32" in made.stages["schedule"]
    assert "carried by a loop" in made.summary["scratch"][0]["why"]


def test_why_an_access_is_a_gather_or_a_scatter(path):
    made = report(f"{path}:permute", ["*fp32", "*i32", "*fp32", "i32", "i32"], {"BLOCK": 64})
    found = {g["kind"]: g["why"] for g in made.summary["gathers"]}
    assert "stride along the lanes is step" in found["scatter"]
    assert "not affine" in found["gather"]
    assert "tt.load" in found["gather"]


def test_decorated_kernels_and_constants_that_nobody_gave(path):
    made = report(f"{path}:tuned", ["*fp32", "i32"], {"EVEN": True})
    assert made.constexprs == {"BLOCK": "64", "EVEN": "True"}
    assert "first configuration" in made.remarks[0]
    with pytest.raises(InspectError, match="EVEN \\(heuristics compute EVEN"):
        report(f"{path}:tuned", ["*fp32", "i32"], {})


def test_kernels_of_the_library_are_found():
    from openxpu.compiler.inspect import find_function

    assert find_function("softmax.softmax_rows").__name__ == "softmax_rows"


@pytest.mark.parametrize(
    ("ref", "signature", "constexprs", "target", "sentence"),
    [
        ("nowhere.py:scale", SCALE, {"BLOCK": 8}, None, "The file nowhere.py was asked for, but there is none"),
        ("{}:scales", SCALE, {"BLOCK": 8}, None, "has none of this name; its kernels are scale, tuned"),
        ("{}:plain", ["*fp32"], {}, None, "decorate it with @triton.jit"),
        ("{}", SCALE, {"BLOCK": 8}, None, "names a file but no function"),
        ("{}:scale", SCALE[:3], {"BLOCK": 8}, None, r"takes 4 arguments at run time \(x, out, n, k\), but the signature has 3"),
        ("{}:scale", SCALE, {}, None, "needs a value for the constexpr BLOCK; give it by --constexpr BLOCK=VALUE"),
        ("{}:scale", SCALE, {"BLOKC": 8}, None, "'BLOKC' was given, but scale has no such parameter"),
        ("{}:scale", SCALE, {"BLOCK": 8}, "z80", "'z80' is not known; give one of .*x86-64-v3"),
        ("{}:scale", [*SCALE[:3], "fp31"], {"BLOCK": 8}, None, "'fp31' is not known"),
        ("softmax.nothing", [], {}, None, "no function nothing"),
    ],
)  # fmt: skip
def test_sentences(path, ref, signature, constexprs, target, sentence):
    with pytest.raises(InspectError, match=sentence):
        report(ref.format(path), signature, constexprs, target)


def test_command_as_json_with_the_stages_asked_for(path, capsys):
    arguments = ["compile", f"{path}:scale", "--signature", ",".join(SCALE), "--constexpr", "BLOCK=256"]
    assert main([*arguments, "--json", "--stage", "ttir,summary"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert list(data["stages"]) == ["ttir"]
    assert data["summary"]["vector_lanes"]
    assert "schedule" not in data


def test_command_prints_plain_text_into_a_pipe(path):
    command = [
        sys.executable,
        "-m",
        "openxpu.cli",
        "compile",
        f"{path}:scale",
        "--signature",
        ",".join(SCALE),
    ]
    done = subprocess.run(
        [*command, "--constexpr", "BLOCK=256"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    heads = [line for line in done.stdout.splitlines() if line.startswith("--- ")]
    assert len(heads) == len(DEFAULT_STAGES)
    assert "bytes loaded by a program: 1 024 f32" in done.stdout


def test_command_colours_a_terminal(path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    arguments = ["compile", f"{path}:scale", "--signature", ",".join(SCALE), "--constexpr", "BLOCK=16"]
    assert main([*arguments, "--stage", "schedule,asm,summary"]) == 0
    out = capsys.readouterr().out
    assert "\x1b[" in out
    assert "--- " not in out
    assert "schedule" in out


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--constexpr", "BLOCK"], "--constexpr takes NAME=VALUE"),
        (["--constexpr", "BLOCK=8", "--stage", "ptx"], "the stages are ttir, tile"),
    ],
)
def test_command_says_what_is_wrong_and_fails(path, capsys, more, sentence):
    assert main(["compile", f"{path}:scale", "--signature", ",".join(SCALE), *more]) == 1
    assert sentence in capsys.readouterr().err


def test_registers_and_spills_are_read_from_assembly():
    asm = """
\tvmovups\t%zmm1, (%rsp)              # 64-byte Spill
\tvaddps\t(%rsp), %zmm1, %zmm17       # 64-byte Folded Reload
\tmovq\t%rax, 8(%rsp)                 # 8-byte Spill
\tkmovw\t%k1, %r10d
"""
    assert spills(asm) == {"spills": 2, "reloads": 1, "vector_spills": 1, "vector_reloads": 1}
    assert registers(asm) == {"vector": 2, "mask": 1, "tile": 0, "general": 2}


def test_the_summary_names_what_is_not_exact(path):
    made = report(f"{path}:scale", SCALE, {"BLOCK": 16})
    made.summary["notes"] = ["a while loop is counted once"]
    assert "not exact: a while loop is counted once" in summary_text(made)
