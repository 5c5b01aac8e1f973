"""Parser of TTIR text (what Triton prints for a module) into the tile IR."""

from __future__ import annotations

import re
import struct
from typing import Any

from openxpu.compiler.float8 import FORMATS, bits_to_float
from openxpu.compiler.tile_ir import (
    Block,
    CompileError,
    Function,
    Module,
    Op,
    Region,
    Type,
    Value,
)

_VALUE = re.compile(r"%[A-Za-z0-9_$.\-]+(?:#\d+)?")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_LEFT = re.compile(r"^((?:%[\w$.\-]+(?::\d+)?)(?:,\s*%[\w$.\-]+(?::\d+)?)*)\s*=\s*")
_NAME = re.compile(r'^"?([a-z_]+(?:\.[a-z_0-9]+)+)"?')
_FLOAT8 = {"f8E4M3FN": "f8e4m3", "f8E5M2": "f8e5m2"}


def parse_type(text: str) -> Type:
    text = text.strip()
    if text.startswith("tensor<"):
        inner = text[len("tensor<") : -1]
        shape: list[int] = []
        while match := re.match(r"(\d+)x", inner):
            shape.append(int(match.group(1)))
            inner = inner[match.end() :]
        element = parse_type(inner)
        return Type(element.dtype, tuple(shape), element.pointee)
    if text.startswith("!tt.ptr<"):
        inner = text[len("!tt.ptr<") : -1]
        inner = re.sub(r",\s*\d+$", "", inner)
        return Type("ptr", None, parse_type(inner))
    if text in ("i1", "i8", "i16", "i32", "i64", "f16", "bf16", "f32", "f64"):
        return Type(text)
    if text == "index":
        return Type("i64")
    if text in _FLOAT8:
        return Type(_FLOAT8[text])
    if text.startswith("f8"):
        raise CompileError(
            f"The kernel uses {text}: the 8-bit floats of this card are float8e4nv and float8e5."
        )
    raise CompileError(f"The kernel uses the type {text}, which this compiler does not know.")


def split_types(text: str) -> list[Type]:
    """'(f32, tensor<4xi32>)' or 'f32, f32' as a list of types."""
    text = text.strip()
    if text.startswith("("):
        text = text[1:-1]
    out, depth, start = [], 0, 0
    for i, c in enumerate(text):
        if c in "<(":
            depth += 1
        elif c in ">)":
            depth -= 1
        elif c == "," and depth == 0:
            out.append(text[start:i])
            start = i + 1
    if text[start:].strip():
        out.append(text[start:])
    return [parse_type(t) for t in out]


def _top_level(text: str, separator: str, last: bool = False) -> int:
    """Position of a separator outside every bracket, or -1."""
    depth, found = 0, -1
    i = 0
    while i < len(text):
        c = text[i]
        if c == "-" and text[i : i + 2] == "->":
            if depth == 0 and separator == "->":
                found = i
                if not last:
                    return i
            i += 2
            continue
        if c in "<([{":
            depth += 1
        elif c in ">)]}":
            depth -= 1
        elif depth == 0 and text.startswith(separator, i):
            found = i
            if not last:
                return i
        i += 1
    return found


def _float(text: str, dtype: str) -> float:
    if text.startswith(("0x", "0X")):
        bits = int(text, 16)
        if dtype in FORMATS:
            return bits_to_float(dtype, bits)
        if dtype == "f64":
            return float(struct.unpack("<d", struct.pack("<Q", bits))[0])
        if dtype == "f32":
            return float(struct.unpack("<f", struct.pack("<I", bits))[0])
        if dtype == "bf16":
            return float(struct.unpack("<f", struct.pack("<I", bits << 16))[0])
        return float(struct.unpack("<e", struct.pack("<H", bits))[0])
    return float(text)


def _number(text: str, type: Type) -> Any:
    text = text.strip()
    if text == "true":
        return 1
    if text == "false":
        return 0
    if type.is_float:
        return _float(text, type.dtype)
    value = int(text, 0)
    if type.dtype == "i1":
        return value & 1
    return value


class _Parser:
    def __init__(self, text: str) -> None:
        self.lines = [line.strip() for line in text.splitlines()]
        self.lines = [line for line in self.lines if line and not line.startswith(("//", "#"))]
        self.at = 0
        self.scopes: list[dict[str, Value]] = []

    # values -----------------------------------------------------------------------------------

    def define(self, name: str, value: Value) -> None:
        value.name = name.lstrip("%")
        self.scopes[-1][name] = value

    def lookup(self, name: str) -> Value:
        candidates = (name,) if "#" in name else (name, name + "#0")
        for scope in reversed(self.scopes):
            for candidate in candidates:
                if candidate in scope:
                    return scope[candidate]
        raise CompileError(f"TTIR uses {name} before it is defined.")

    def values(self, text: str) -> list[Value]:
        return [self.lookup(name) for name in _VALUE.findall(text)]

    # structure --------------------------------------------------------------------------------

    def module(self) -> Module:
        functions: list[Function] = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.startswith("tt.func"):
                functions.append(self.function(line))
            else:
                self.at += 1
        if not functions:
            raise CompileError("The TTIR module has no function.")
        functions.sort(key=lambda f: not f.name.startswith("!"))
        for f in functions:
            f.name = f.name.lstrip("!")
        return Module(functions)

    def function(self, line: str) -> Function:
        match = re.match(r"tt\.func\s+(public|private)?\s*@([^\s(]+|\"[^\"]*\")\(", line)
        if match is None:
            raise CompileError(f"TTIR function header not understood: {line}")
        name = match.group(2).strip('"')
        depth, i = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(line[i], 0)
            i += 1
        arguments = line[match.end() : i - 1]
        rest = line[i:].strip()
        results: list[Type] = []
        if rest.startswith("->"):
            rest = rest[2:].strip()
            end = rest.index(" attributes") if " attributes" in rest else rest.rindex("{")
            results = split_types(rest[:end].strip())
        region = Region()
        block = Block(region)
        region.blocks.append(block)
        self.scopes.append({})
        for match_arg in re.finditer(r"(%[\w]+): (!tt\.ptr<(?:[^<>]|<[^<>]*>)*>|[\w!.<>]+)", arguments):
            self.define(match_arg.group(1), block.add_arg(parse_type(match_arg.group(2))))
        self.at += 1
        self.body(region, block)
        self.scopes.pop()
        return Function(("!" if match.group(1) != "private" else "") + name, region, results)

    def body(self, region: Region, block: Block) -> str:
        """Operations up to the closing brace; returns the closing line."""
        labels: dict[str, Block] = {}
        pending: list[tuple[Op, list[str]]] = []
        labels["^bb0"] = block
        while True:
            line = self.lines[self.at]
            if line.startswith("}"):
                self.at += 1
                break
            if line.startswith("^"):
                match = re.match(r"(\^\w+)(?:\((.*)\))?:", line)
                assert match is not None
                if match.group(1) != "^bb0":
                    block = Block(region)
                    region.blocks.append(block)
                labels[match.group(1)] = block
                for arg in re.finditer(
                    r"(%[\w]+): ((?:[^,<]|<(?:[^<>]|<[^<>]*>)*>)+)",
                    match.group(2) or "",
                ):
                    self.define(arg.group(1), block.add_arg(parse_type(arg.group(2))))
                self.at += 1
                continue
            op = self.op(line)
            op.block = block
            block.ops.append(op)
            if op.name in ("cf.br", "cf.cond_br"):
                pending.append((op, op.attrs.pop("targets")))
        for op, names in pending:
            op.attrs["blocks"] = [labels[n] for n in names]
        return line

    def region(self, op: Op, args: list[tuple[str, Type]] | None = None) -> str:
        region = Region(op)
        block = Block(region)
        region.blocks.append(block)
        op.regions.append(region)
        self.scopes.append({})
        for name, type in args or []:
            self.define(name, block.add_arg(type))
        closing = self.body(region, block)
        self.scopes.pop()
        return closing

    def op(self, line: str) -> Op:
        original = line
        names: list[tuple[str, int]] = []
        match = _LEFT.match(line)
        if match:
            for part in match.group(1).split(","):
                name, _, count = part.strip().partition(":")
                names.append((name, int(count or 1)))
            line = line[match.end() :]
        match = _NAME.match(line)
        if match is None:
            raise CompileError(f"TTIR line not understood: {original}")
        name = match.group(1)
        rest = line[match.end() :].strip()
        self.at += 1
        op = Op(name, [])
        types = self.parse(op, rest)
        for i, type in enumerate(types):
            op.results.append(Value(type, op, None, i))
        if len(names) == 1 and names[0][1] == len(types):
            for i, result in enumerate(op.results):
                self.define(names[0][0] if len(types) == 1 else f"{names[0][0]}#{i}", result)
        elif len(names) == len(types):
            for (n, _), result in zip(names, op.results, strict=True):
                self.define(n, result)
        elif names:
            raise CompileError(f"TTIR line not understood (results): {original}")
        return op

    # operations -------------------------------------------------------------------------------

    def parse(self, op: Op, rest: str) -> list[Type]:
        name = op.name
        if name == "scf.for":
            return self.parse_for(op, rest)
        if name == "scf.if":
            return self.parse_if(op, rest)
        if name == "scf.while":
            return self.parse_while(op, rest)
        if name in ("tt.reduce", "tt.scan", "tt.map_elementwise"):
            return self.parse_combine(op, rest)
        strings: list[str] = []

        def keep(found: re.Match[str]) -> str:
            strings.append(found.group(1))
            return f"'{len(strings) - 1}'"

        rest = _STRING.sub(keep, rest)
        if rest.endswith("{"):
            raise CompileError(f"The kernel uses {name} with a region, which this compiler does not know.")
        if name == "arith.constant":
            return self.parse_constant(op, rest)
        if name == "ub.poison":  # what a path that ends in a failed assertion would return
            op.name, op.attrs["value"] = "arith.constant", 0
            return [parse_type(rest[rest.index(":") + 1 :])]
        colon = _top_level(rest, ":", last=name not in ("cf.br", "cf.cond_br"))
        body, signature = (rest[:colon], rest[colon + 1 :].strip()) if colon >= 0 else (rest, "")
        if name in ("cf.br", "cf.cond_br"):
            return self.parse_branch(op, rest)
        op.operands = self.values(body)
        attrs = op.attrs
        if strings:
            attrs["strings"] = strings
        if name == "tt.call":
            found = re.search(r"@([^\s(]+|'\d+')\(", body)
            assert found is not None
            callee = found.group(1)
            attrs["callee"] = strings[int(callee[1:-1])] if callee.startswith("'") else callee
            return split_types(signature[signature.index("->") + 2 :]) if "->" in signature else []
        if name in (
            "tt.return",
            "scf.yield",
            "scf.condition",
            "tt.reduce.return",
            "tt.scan.return",
            "tt.map_elementwise.return",
        ):
            return []
        if name in (
            "tt.store",
            "tt.atomic_store",
            "tt.assert",
            "tt.print",
            "ttg.barrier",
            "gpu.barrier",
            "llvm.intr.assume",
        ):
            if found := re.search(r"isSigned = array<i32: ([\d, ]+)>", body):
                attrs["signed"] = [int(x) for x in found.group(1).split(",")]
            attrs["hex"] = "hex = true" in body
            if "cache_modifier = cs" in body or "cacheModifier = cs" in body:
                attrs["streaming"] = True
            return []
        if name in ("tt.get_program_id", "tt.get_num_programs"):
            attrs["axis"] = "xyz".index(body.split()[0])
        if name in ("arith.cmpi", "arith.cmpf"):
            attrs["predicate"] = body.split(",")[0].strip().split()[0]
        if name == "tt.make_range":
            attrs["start"] = int(re.search(r"start = (-?\d+)", body).group(1))  # type: ignore[union-attr]
            attrs["end"] = int(re.search(r"end = (-?\d+)", body).group(1))  # type: ignore[union-attr]
        if name in ("tt.expand_dims", "tt.gather"):
            attrs["axis"] = int(re.search(r"axis = (\d+)", body).group(1))  # type: ignore[union-attr]
        if name == "tt.trans":
            found = re.search(r"order = array<i32: ([\d, ]+)>", body)
            assert found is not None
            attrs["order"] = tuple(int(x) for x in found.group(1).split(","))
        if name == "tt.clampf":
            attrs["propagate"] = "propagateNan = all" in body
        if name == "tt.atomic_rmw":
            attrs["kind"] = body.split(",")[0].strip()
        if name == "tt.dot" and (found := re.search(r"inputPrecision = (\w+)", body)):
            attrs["precision"] = found.group(1)
        if name == "tt.dot_scaled":
            self.scaled_dot(op, body)
        if name == "tt.extern_elementwise":
            attrs["symbol"] = strings[
                re.findall(r"(\w+) = '(\d+)'", body).index(("symbol", str(len(strings) - 1)))
            ]
        if name == "tt.fp_to_fp" and (found := re.search(r"rounding = (\w+)", body)):
            attrs["rounding"] = found.group(1)
        if name == "tt.load":
            pointer = parse_type(signature)
            attrs["masked"] = len(op.operands) > 1
            assert pointer.pointee is not None
            return [Type(pointer.pointee.dtype, pointer.shape, pointer.pointee.pointee)]
        arrow = _top_level(signature, "->", last=True)
        if name == "tt.split":  # two results, one type
            return split_types(signature[arrow + 2 :]) * 2
        if arrow >= 0:
            return split_types(signature[arrow + 2 :])
        to = _top_level(signature, " to ", last=True)
        if to >= 0:
            return [parse_type(signature[to + 4 :])]
        if name in ("arith.cmpi", "arith.cmpf"):
            return [parse_type(signature).with_dtype("i1")]
        types = split_types(signature)
        if name == "arith.select":
            return [types[-1]]
        if name in (
            "arith.addui_extended",
            "arith.mulsi_extended",
            "arith.mului_extended",
        ):
            return types if len(types) == 2 else [types[0], types[0]]
        return types[:1]

    @staticmethod
    def scaled_dot(op: Op, body: str) -> None:
        """Which factors have a scale, their formats, and whether 4-bit factors are packed along k."""
        factors = body.split(" lhs = ", maxsplit=1)[0].split(",")
        op.attrs["scaled"] = [" scale " in factor for factor in factors[:2]]
        op.attrs["formats"] = re.findall(r"[lr]hs = (\w+)", body)[:2]
        op.attrs["k_pack"] = [f"{side}_k_pack = false" not in body for side in ("lhs", "rhs")]

    def parse_constant(self, op: Op, rest: str) -> list[Type]:
        if rest in ("true", "false"):
            op.attrs["value"] = int(rest == "true")
            return [Type("i1")]
        colon = _top_level(rest, ":", last=True)
        type = parse_type(rest[colon + 1 :])
        text = rest[:colon].strip()
        if text.startswith("dense<"):
            text = text[6:-1]
            if text.startswith("["):
                numbers = re.findall(r"[^\[\],\s]+", text)
                values = [_number(n, type.element) for n in numbers]
                if len(set(values)) > 1:
                    raise CompileError(
                        "A tile constant with different elements is not supported; build it from tl.arange."
                    )
                op.attrs["value"] = values[0]
                return [type]
        op.attrs["value"] = _number(text, type.element)
        return [type]

    def parse_branch(self, op: Op, rest: str) -> list[Type]:
        targets = []
        groups: list[list[Value]] = []
        head = rest
        if op.name == "cf.cond_br":
            op.operands = [self.lookup(_VALUE.findall(rest)[0])]
            head = rest[rest.index(",") + 1 :]
        for found in re.finditer(r"(\^\w+)(?:\(([^:)]*)(?::[^)]*)?\))?", head):
            targets.append(found.group(1))
            groups.append(self.values(found.group(2) or ""))
        for group in groups:
            op.operands.extend(group)
        op.attrs["targets"] = targets
        op.attrs["counts"] = [len(g) for g in groups]
        return []

    def parse_for(self, op: Op, rest: str) -> list[Type]:
        match = re.match(r"(unsigned )?(%\S+) = (%\S+) to (%\S+) step (%\S+)", rest)
        assert match is not None
        op.attrs["unsigned"] = bool(match.group(1))
        op.operands = [self.lookup(match.group(i)) for i in (3, 4, 5)]
        types: list[Type] = []
        args = [(match.group(2), op.operands[0].type)]
        tail = rest[match.end() :]
        if "iter_args(" in tail:
            inside = tail[tail.index("iter_args(") + 10 : tail.index(")")]
            pairs = re.findall(r"(%[\w]+) = (%[\w.\-]+(?:#\d+)?)", inside)
            after = tail[tail.index("->") + 2 :].strip()
            depth, end = 0, 0
            for c in after:
                end += 1
                depth += {"(": 1, ")": -1}.get(c, 0)
                if depth == 0:
                    break
            types = split_types(after[:end])
            for (name, initial), type in zip(pairs, types, strict=True):
                op.operands.append(self.lookup(initial))
                args.append((name, type))
        self.region(op, args)
        self.end_with_yield(op)
        return types

    @staticmethod
    def end_with_yield(op: Op) -> None:
        """TTIR does not print the yield of nothing."""
        for region in op.regions:
            if not region.block.ops or region.block.ops[-1].name not in ("scf.yield", "scf.condition"):
                region.block.ops.append(Op("scf.yield", []))

    def parse_if(self, op: Op, rest: str) -> list[Type]:
        op.operands = [self.lookup(_VALUE.findall(rest)[0])]
        types = split_types(rest[rest.index("->") + 2 : -1]) if "->" in rest else []
        closing = self.region(op)
        if "else" in closing:
            self.region(op)
        else:
            region = Region(op)
            block = Block(region)
            region.blocks.append(block)
            op.regions.append(region)
        self.end_with_yield(op)
        return types

    def parse_while(self, op: Op, rest: str) -> list[Type]:
        args: list[tuple[str, Type]] = []
        inputs: list[Type] = []
        signature = rest[:-1].strip()
        if signature.startswith("("):
            inside = signature[1 : signature.index(")")]
            pairs = re.findall(r"(%[\w]+) = (%[\w.\-]+(?:#\d+)?)", inside)
            signature = signature[signature.index(")") + 1 :].strip()
            op.operands = [self.lookup(p[1]) for p in pairs]
        else:
            pairs = []
        signature = signature.lstrip(":").strip()
        arrow = _top_level(signature, "->", last=True)
        inputs = split_types(signature[:arrow])
        types = split_types(signature[arrow + 2 :])
        args = [(p[0], t) for p, t in zip(pairs, inputs, strict=True)]
        self.region(op, args)
        self.region(op)
        self.end_with_yield(op)
        return types

    def parse_combine(self, op: Op, rest: str) -> list[Type]:
        op.operands = self.values(rest[: rest.index(")")])
        if op.name == "tt.map_elementwise":
            pack = re.search(r"pack = (\d+)", rest)
            op.attrs["pack"] = int(pack.group(1)) if pack else 1
        else:
            match = re.search(r"axis = (\d+)", rest)
            assert match is not None
            op.attrs["axis"] = int(match.group(1))
            op.attrs["reverse"] = "reverse = true" in rest
        closing = self.region(op)
        return split_types(closing[closing.index("->") + 2 :])


def parse(text: str) -> Module:
    """TTIR text -> tile IR. The public function comes first."""
    # Strings may hold braces and percent signs, and attributes of locations are not needed.
    return _Parser(text).module()
