"""The pipeline: a Triton function -> TTIR -> tile IR -> schedule -> LLVM IR -> an ELF object.

This module imports triton and llvmlite; openxpu.compiler imports it only when the cache has no image.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import llvmlite.binding as llvm
import triton
import triton.language as tl
from triton._C.libtriton import ir as mlir
from triton._C.libtriton import passes
from triton.compiler.code_generator import ast_to_ttir
from triton.compiler.compiler import ASTSource

from openxpu.compiler import figures, inline, legal, refuse, simplify, tile_ir, ttir
from openxpu.compiler.program import ENTRY, Program
from openxpu.compiler.target import FLOAT8, Target
from openxpu.compiler.tile_ir import CompileError

_TRITON_DTYPES = {
    "bool": "i1", "u8": "u8", "i8": "i8", "u16": "u16", "i16": "i16", "u32": "u32", "i32": "i32", "u64": "u64", "i64": "i64",
    "f8e4m3": "fp8e4nv", "f8e5m2": "fp8e5", "f16": "fp16", "bf16": "bf16", "f32": "fp32", "f64": "fp64", "i1": "i1", "fp16": "fp16", "fp32": "fp32", "fp64": "fp64",
}  # fmt: skip
_DTYPE_OBJECTS = {
    "bool": tl.int1, "u8": tl.uint8, "i8": tl.int8, "u16": tl.uint16, "i16": tl.int16, "u32": tl.uint32, "i32": tl.int32,
    "u64": tl.uint64, "i64": tl.int64, "f8e4m3": tl.float8e4nv, "f8e5m2": tl.float8e5, "f16": tl.float16, "bf16": tl.bfloat16, "f32": tl.float32, "f64": tl.float64,
}  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What Triton's front end asks of a back end."""

    num_warps: int = 1
    num_ctas: int = 1
    num_stages: int = 1
    warp_size: int = 1
    debug: bool = True  # keeps tl.device_assert
    sanitize_overflow: bool = False
    default_dot_input_precision: str = "ieee"
    allowed_dot_input_precisions: tuple[str, ...] = (
        "ieee",
        "tf32",
        "tf32x3",
        "bf16x3",
        "bf16x6",
    )
    supported_fp8_dtypes: tuple[str, ...] = FLOAT8
    deprecated_fp8_dot_operand_dtypes: tuple[str, ...] = ()
    max_num_imprecise_acc_default: int = 0
    extern_libs: dict[str, str] | None = None
    backend_name: str = "openxpu"
    arch: str = "host"
    enable_fp_fusion: bool = True
    launch_cooperative_grid: bool = False
    ir_override: str | None = None
    instrumentation_mode: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


def codegen_functions() -> dict[str, Any]:
    return {"min_dot_size": lambda a, b: (1, 1, 1)}


def module_map() -> dict[str, ModuleType]:
    from openxpu.compiler import libdevice

    return {"triton.language.extra.libdevice": libdevice}  # type: ignore[dict-item]


# --- references and constants -----------------------------------------------------------------


def resolve(ref: str) -> Any:
    """The jit function that a reference names: "softmax.softmax_forward" or "package.module:function"."""
    if ":" in ref:
        module_name, _, function = ref.partition(":")
    else:
        module_name, _, function = ref.rpartition(".")
        module_name = "openxpu.ops.kernels." + module_name
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise CompileError(
            f"Kernel {ref!r} was asked for, but there is no module {module_name}: {error}."
        ) from error
    found = getattr(module, function, None)
    if found is None:
        raise CompileError(f"Kernel {ref!r} was asked for, but {module_name} has no function {function}.")
    if not hasattr(found, "arg_names"):
        raise CompileError(f"Kernel {ref!r} is not a Triton function; decorate it with @triton.jit.")
    return found


def constant(value: Any) -> Any:
    """The Python object that a kernel receives for a constexpr value (architecture.md, contract 2)."""
    if isinstance(value, str):
        kind, _, rest = value.partition(":")
        if kind == "dtype":
            if rest not in _DTYPE_OBJECTS:
                raise CompileError(
                    f"The constexpr {value!r} names no dtype; known are {', '.join(_DTYPE_OBJECTS)}."
                )
            return _DTYPE_OBJECTS[rest]
        if kind in ("function", "fn"):
            return resolve(rest)
    if isinstance(value, list | tuple):
        return tuple(constant(v) for v in value)
    return value


def triton_type(name: str) -> str:
    if name == "constexpr":
        return name
    pointer = "*" if name.startswith("*") else ""
    found = _TRITON_DTYPES.get(name.lstrip("*"))
    if found is None:
        raise CompileError(f"The argument type {name!r} is not known; known are {', '.join(_TRITON_DTYPES)}.")
    return pointer + found


# --- TTIR ---------------------------------------------------------------------------------------


def run_passes(module: Any, context: Any) -> None:
    manager = mlir.pass_manager(context)
    passes.common.add_inliner(manager)
    passes.ttir.add_rewrite_tensor_descriptor_to_pointer(manager)
    passes.common.add_canonicalizer(manager)
    passes.ttir.add_combine(manager)
    passes.ttir.add_reorder_broadcast(manager)
    passes.common.add_cse(manager)
    passes.ttir.add_triton_licm(manager)
    passes.common.add_symbol_dce(manager)
    passes.ttir.add_loop_unroll(manager)
    manager.run(module, "openxpu_ttir")


def optimise_ttir(module: Any, context: Any) -> str:
    """Run Triton's target-independent passes and return the text; functions marked noinline are inlined too."""
    run_passes(module, context)
    text: str = module.str_nodebug()
    for _ in range(8):
        if "tt.call" not in text:
            break
        text = text.replace("noinline = true", "noinline = false")
        with tempfile.NamedTemporaryFile("w", suffix=".ttir") as f:
            f.write(text)
            f.flush()
            module = mlir.parse_mlir_module(f.name, context)
        module.context = context
        run_passes(module, context)
        text = module.str_nodebug()
    refuse.check(module, text)
    return text


def make_ttir(ref: str, arg_types: list[str], constexprs: dict[str, Any]) -> str:
    return ttir_of(resolve(ref), ref, arg_types, constexprs)


def ttir_of(function: Any, ref: str, arg_types: list[str], constexprs: dict[str, Any]) -> str:
    """TTIR text of a jit function that goes by the name `ref` in messages."""
    names = function.arg_names
    if len(arg_types) != len(names):
        raise CompileError(
            f"Kernel {ref!r} takes {len(names)} parameters ({', '.join(names)}) but {len(arg_types)} argument types were given."
        )
    signature = dict(zip(names, map(triton_type, arg_types), strict=True))
    wanted = {n for n, t in signature.items() if t == "constexpr"}
    if wanted != set(constexprs):
        raise CompileError(
            f"Kernel {ref!r} has the constexpr parameters {sorted(wanted)} but values were given for {sorted(constexprs)}."
        )
    values = {(names.index(n),): constant(v) for n, v in constexprs.items()}
    refuse.check_function(function, ref)
    source = ASTSource(function, signature, values)
    context = mlir.context()
    mlir.load_dialects(context)
    try:
        module = ast_to_ttir(
            function,
            source,
            context=context,
            options=Options(),
            codegen_fns=codegen_functions(),
            module_map=module_map(),
        )
    except triton.CompilationError as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise CompileError(f"Triton could not compile kernel {ref!r}: {error}\n{cause}") from error
    return optimise_ttir(module, context)


# --- LLVM ---------------------------------------------------------------------------------------

_machines: dict[str, Any] = {}


def machine(target: Target) -> Any:
    found = _machines.get(target.key)
    if found is None:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        found = llvm.Target.from_triple(target.triple).create_target_machine(
            cpu=target.cpu,
            features=target.llvm_features,
            opt=2,
            reloc="pic",
            codemodel="small",
        )
        found.set_asm_verbosity(True)  # assembly says which moves are spills
        _machines[target.key] = found
    return found


@dataclass
class Compiled:
    name: str
    symbol: str
    elf: bytes
    scratch_bytes: int
    messages: list[str]
    program: Program
    figures: dict[str, Any]  # openxpu.compiler.figures
    seconds: dict[str, float]  # by stage of the pipeline
    stages: dict[str, str] = field(default_factory=dict)


class Clock:
    """Seconds since the last lap, by the name of the stage that ended."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self.last
        self.last = now


def optimise(module: Any, target: Target) -> None:
    options = llvm.create_pipeline_tuning_options()
    options.speed_level = 2
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_unrolling = False
    options.loop_interleaving = False
    builder = llvm.create_pass_builder(machine(target), options)
    manager = builder.getModulePassManager()
    manager.run(module, builder)


def compile_ttir(text: str, target: Target, dump: tuple[str, ...] = ()) -> Compiled:
    """TTIR text -> object code."""
    clock = Clock()
    module = ttir.parse(text)
    function = module.kernel
    inline.inline_calls(module)
    inline.structure_regions(function)
    tile_ir.verify(function)
    legal.legalise(function)
    simplify.scalar_inductions(function)
    simplify.remove_dead(function)
    tile_ir.verify(function)
    clock.lap("tile IR")
    stages: dict[str, str] = {}
    if "tile" in dump:
        stages["tile"] = tile_ir.dump(function)
    program = Program(function, target)
    clock.lap("schedule")
    llvm_text = str(program.emit())
    clock.lap("emit")
    if "llvm" in dump:
        stages["llvm"] = llvm_text
    try:
        parsed = llvm.parse_assembly(llvm_text)
        parsed.verify()
    except RuntimeError as error:
        raise CompileError(
            f"Kernel {function.name}: the generated LLVM code was refused ({str(error).strip()[:2000]}). "
            "This is a fault of the compiler; report it with the kernel."
        ) from error
    optimise(parsed, target)
    clock.lap("LLVM passes")
    if "optimised" in dump:
        stages["optimised"] = str(parsed)
    if "asm" in dump:
        stages["asm"] = machine(target).emit_assembly(parsed)
    clock.last = time.perf_counter()
    elf = machine(target).emit_object(parsed)
    clock.lap("LLVM code")
    return Compiled(
        function.name,
        ENTRY,
        elf,
        max(64, program.scratch_bytes + 64),
        program.messages,
        program,
        figures.count(function, program.schedule.analysis),
        clock.seconds,
        stages,
    )


def compile_text(name: str, text: str, target: Target) -> Compiled:
    """TTIR text -> object code; prints the stages that OPENXPU_DUMP names."""
    wanted = tuple(w for w in os.environ.get("OPENXPU_DUMP", "").split(",") if w)
    compiled = compile_ttir(text, target, wanted)
    if "ttir" in wanted:
        compiled.stages["ttir"] = text
    for stage, content in compiled.stages.items():
        print(f"--- {name}: {stage}\n{content}", file=sys.stderr)
    return compiled


def compile_kernel(ref: str, arg_types: list[str], constexprs: dict[str, Any], target: Target) -> Compiled:
    return compile_text(ref, make_ttir(ref, arg_types, constexprs), target)


def versions() -> str:
    return f"triton {triton.__version__} llvmlite {re.split(r'[+]', llvm.llvm_version_info.__str__())[0]}"
