# The compiler half of the Triton back end: Triton's stages, done by openxpu.compiler.
"""Triton keeps the results in its own cache (TRITON_CACHE_DIR), under a key that has the kernel's source, this back
end's `hash` and the options."""

from __future__ import annotations

import hashlib
import inspect
import re
from dataclasses import dataclass, fields
from types import ModuleType
from typing import Any

from triton.backends.compiler import BaseBackend, GPUTarget, Language

from openxpu.compiler import cache, image
from openxpu.compiler.target import FLOAT8, LEVELS, Target, host

NAME = "openxpu"
IMAGE = "oxk"  # the stage and file name extension of a kernel image


def triton_target(target: Target) -> GPUTarget:
    """A target in Triton's words. Its architecture is the full list of features, so that equal means equal."""
    return GPUTarget(NAME, target.key, 1)


def own_target(target: GPUTarget) -> Target:
    """The compiler's target for one of Triton's: this machine's, or a level by its name."""
    if target.arch == host().key:
        return host()
    for known in LEVELS.values():
        if target.arch in (known.name, known.key):
            return known
    raise ValueError(
        f"OpenXPU cannot compile for the architecture {target.arch!r}; give one of {', '.join(LEVELS)}, or leave the "
        "target out to compile for this machine."
    )


@dataclass(frozen=True)
class Options:
    """What kernel[grid](..., name=value) may set besides the kernel's parameters, and what Triton's front end reads.

    Warps, stages and blocks in a cluster mean nothing on a processor: they are accepted and change no code."""

    num_warps: int = 4
    num_ctas: int = 1
    num_stages: int = 3
    maxnreg: int | None = None
    warp_size: int = 1
    debug: bool = False
    sanitize_overflow: bool = False
    default_dot_input_precision: str = "ieee"
    allowed_dot_input_precisions: tuple[str, ...] = ("ieee", "tf32", "tf32x3", "bf16x3", "bf16x6")
    supported_fp8_dtypes: tuple[str, ...] = FLOAT8
    deprecated_fp8_dot_operand_dtypes: tuple[str, ...] = ()
    max_num_imprecise_acc_default: int = 0
    extern_libs: tuple[tuple[str, str], ...] | None = None
    backend_name: str = NAME
    arch: str = ""
    enable_fp_fusion: bool = True
    launch_cooperative_grid: bool = False
    launch_pdl: bool = False
    ir_override: str | None = None
    instrumentation_mode: str = ""
    fpsan_homomorphic_casts: bool = False

    def hash(self) -> str:
        """Of what changes code, so that autotuning over warps and stages compiles once."""
        without = {"num_warps", "num_ctas", "num_stages", "maxnreg", "launch_cooperative_grid", "launch_pdl"}
        material = [(f.name, getattr(self, f.name)) for f in fields(self) if f.name not in without]
        return hashlib.sha256(repr(material).encode()).hexdigest()


class Locations:
    """Where the operations of a module stand in the user's files, from the locations that Triton prints."""

    def __init__(self, module: Any) -> None:
        self.text = str(module)
        self.table = dict(re.findall(r"^(#loc\w*) = (loc\(.*\))$", self.text, re.MULTILINE))

    def resolve(self, location: str, depth: int = 0) -> str | None:
        """ "file:line" of a location that may refer to others."""
        if match := re.search(r'"([^"]+\.\w+)":(\d+):\d+', location):
            return f"{match.group(1)}:{match.group(2)}"
        for name in re.findall(r"#loc\w*", location):
            found = self.resolve(self.table.get(name, ""), depth + 1) if depth < 32 else None
            if found:
                return found
        return None

    def of(self, operation: str) -> str | None:
        """Where the first operation of this name stands, or None."""
        at = self.text.find(operation)
        line = self.text[at : self.text.find("\n", at)] if at >= 0 else ""
        found = re.search(r"loc\(.*\)|#loc\w*", line)
        return self.resolve(found.group(0)) if found else None

    @property
    def kernel(self) -> str | None:
        """Where the kernel is defined."""
        return self.of("tt.func public")


def _located(sentence: str, place: str | None) -> str:
    return sentence if place is None else f"{place}: {sentence}"


def _source_being_compiled() -> Any:
    """Triton tells add_stages the language of a kernel but not which kernel: it is a local of the caller."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == "compile" and "src" in frame.f_locals:
            return frame.f_locals["src"]
        frame = frame.f_back
    return None


class OpenXPUBackend(BaseBackend):  # type: ignore[misc]
    """Stages: "ttir" (Triton's target-independent passes), "oxk" (a kernel image)."""

    binary_ext = IMAGE

    def __init__(self, target: GPUTarget) -> None:
        super().__init__(target)
        self.own_target = own_target(target)

    @staticmethod
    def supports_target(target: GPUTarget) -> bool:
        return bool(target.backend == NAME)

    def hash(self) -> str:
        return f"{cache.compiler_digest()}-{self.own_target.key}"

    def parse_options(self, options: dict[str, Any]) -> Options:
        known = {f.name for f in fields(Options)}
        given = {name: value for name, value in options.items() if name in known and value is not None}
        given["arch"] = self.own_target.key
        return Options(**given)

    def pack_metadata(self, metadata: Any) -> tuple[()]:
        return ()

    def get_codegen_implementation(self, options: Options) -> dict[str, Any]:
        from openxpu.compiler.compile import codegen_functions

        return codegen_functions()

    def get_module_map(self) -> dict[str, ModuleType]:
        from openxpu.compiler.compile import module_map

        return module_map()

    def get_target_name(self, options: Options) -> str:
        return f"{NAME}:{self.own_target.name}"

    def load_dialects(self, context: Any) -> None:
        """Triton's own dialects are enough."""

    def add_stages(
        self, stages: dict[str, Any], options: Options, language: Language = Language.TRITON
    ) -> None:
        if language == Language.GLUON:
            function = getattr(_source_being_compiled(), "fn", None)
            place = None if function is None else f"{function.file_name}:{function.def_file_line_number}"
            name = "A kernel" if function is None else f"Kernel {function.__name__}"
            raise _compile_error(
                _located(
                    f"{name} is written in Gluon, which lays tiles out on the threads of a GPU; write it in Triton "
                    "(triton.language) to run it on a card of OpenXPU.",
                    place,
                )
            )
        stages["ttir"] = self.make_ttir
        stages[IMAGE] = self.make_image

    def make_ttir(self, module: Any, metadata: dict[str, Any]) -> str:
        """Triton's module -> TTIR text after the target-independent passes."""
        from openxpu.compiler import compile as pipeline
        from openxpu.compiler.tile_ir import CompileError

        metadata["defined_at"] = Locations(module).kernel
        try:
            return pipeline.optimise_ttir(module, module.context)
        except CompileError as error:  # it names its place itself
            raise _compile_error(str(error)) from error

    def make_image(self, text: Any, metadata: dict[str, Any]) -> bytes:
        """TTIR text (or a module, when the source is a .ttir file) -> a kernel image."""
        from openxpu.compiler import compile as pipeline
        from openxpu.compiler.tile_ir import CompileError

        if not isinstance(text, str):
            text = pipeline.optimise_ttir(text, text.context)
        try:
            compiled = pipeline.compile_text("kernel", text, self.own_target)
        except CompileError as error:
            raise _compile_error(_located(str(error), metadata.get("defined_at"))) from error
        metadata["name"] = compiled.name
        # "Shared memory" is what a program needs for itself: the worker's scratch.
        metadata["shared"] = compiled.scratch_bytes
        return image.pack(
            image.Image(
                {
                    "name": compiled.name,
                    "symbol": compiled.symbol,
                    "scratch_bytes": compiled.scratch_bytes,
                    "target": self.own_target.key,
                    "messages": compiled.messages,
                    "figures": compiled.figures,
                },
                compiled.elf,
            )
        )


def _compile_error(sentence: str) -> Exception:
    from openxpu.compiler.tile_ir import CompileError

    return CompileError(sentence)
