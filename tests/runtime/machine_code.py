"""Small kernels in LLVM assembly, so that the run time is tested without the compiler above it."""

from __future__ import annotations

import functools

from llvmlite import binding as llvm

from openxpu import _runtime

HEADER = "define i32 @{name}(ptr %args, ptr %grid, i64 %begin, i64 %end, ptr %scratch) "
LOAD_ARGS = """
  %out = load ptr, ptr %args
  %value.at = getelementptr i64, ptr %args, i64 1
  %value = load i64, ptr %value.at
"""
LOOP_END = """
  %next = add i64 %p, 1
  %more = icmp ult i64 %next, %end
  br i1 %more, label %loop, label %done
done:
  ret i32 0
}
"""
# out[p] = out[p] * 3 + value: the result shows in which order launches ran.
STEP = (
    HEADER.format(name="step")
    + "{\nentry:"
    + LOAD_ARGS
    + """
  br label %loop
loop:
  %p = phi i64 [%begin, %entry], [%next, %loop]
  %at = getelementptr i64, ptr %out, i64 %p
  %old = load i64, ptr %at
  %tripled = mul i64 %old, 3
  %new = add i64 %tripled, %value
  store i64 %new, ptr %at
"""
    + LOOP_END
)
# Every program turns `value` times in place, then counts itself at out[p].
SPIN = (
    HEADER.format(name="spin")
    + "{\nentry:"
    + LOAD_ARGS
    + """
  %place = alloca i64
  br label %loop
loop:
  %p = phi i64 [%begin, %entry], [%next, %leave]
  br label %turn
turn:
  %i = phi i64 [0, %loop], [%i.next, %turn]
  store volatile i64 %i, ptr %place
  %i.next = add i64 %i, 1
  %turning = icmp ult i64 %i.next, %value
  br i1 %turning, label %turn, label %leave
leave:
  %at = getelementptr i64, ptr %out, i64 %p
  %old = load i64, ptr %at
  %new = add i64 %old, 1
  store i64 %new, ptr %at
"""
    + LOOP_END
)
# Every program waits until the word at `value` is not 0, then counts itself at out[p]: holds a stream until we say.
HOLD = SPIN.replace("@spin", "@hold").replace(
    """  store volatile i64 %i, ptr %place
  %i.next = add i64 %i, 1
  %turning = icmp ult i64 %i.next, %value
""",
    """  store volatile i64 %i, ptr %place
  %i.next = add i64 %i, 1
  %flag = inttoptr i64 %value to ptr
  %seen = load volatile i64, ptr %flag
  %turning = icmp eq i64 %seen, 0
""",
)
FAIL = HEADER.format(name="fail") + "{\n  ret i32 2\n}\n"
# Writes its whole argument block, the grid and the scratch's alignment behind out: what a launch really passes.
REPORT = (
    HEADER.format(name="report")
    + """{
  %out = load ptr, ptr %args
  %n.at = getelementptr i64, ptr %args, i64 1
  %n = load i64, ptr %n.at
  %bytes = mul i64 %n, 8
  call void @llvm.memcpy.p0.p0.i64(ptr %out, ptr %args, i64 %bytes, i1 false)
  %after = getelementptr i64, ptr %out, i64 %n
  call void @llvm.memcpy.p0.p0.i64(ptr %after, ptr %grid, i64 12, i1 false)
  %scratch.at = getelementptr i64, ptr %after, i64 2
  %scratch.bits = ptrtoint ptr %scratch to i64
  store i64 %scratch.bits, ptr %scratch.at
  ret i32 0
}
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""
)


@functools.cache
def target_machine() -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(opt=2, reloc="pic", codemodel="small")


def compile_object(text: str) -> bytes:
    module = llvm.parse_assembly(text)
    module.verify()
    return bytes(target_machine().emit_object(module))


@functools.cache
def entry(text: str, name: str) -> int:
    return _runtime.load_image(compile_object(text)).symbol(name)


def step() -> int:
    return entry(STEP, "step")


def spin() -> int:
    return entry(SPIN, "spin")


def hold() -> int:
    return entry(HOLD, "hold")


def fail() -> int:
    return entry(FAIL, "fail")


def report() -> int:
    return entry(REPORT, "report")
