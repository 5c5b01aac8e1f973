"""Affine analysis: index tiles as base + sum(coef_d * i_d), addresses as pointer + such a form, masks as prefixes.

Index arithmetic on tiles is taken not to wrap (as in every Triton program that addresses memory with it), so
forms are evaluated in 64 bits: an offset that would overflow 32 bits inside a tile is still right.
"""

from __future__ import annotations

from dataclasses import dataclass

from openxpu.compiler.tile_ir import Type, Value

Monomial = tuple[Value, ...]


class Poly:
    """A polynomial with integer coefficients over scalar SSA values (each sign-extended to 64 bits)."""

    __slots__ = ("_key", "terms")

    def __init__(self, terms: dict[Monomial, int]):
        self.terms = {m: c for m, c in terms.items() if c}
        self._key = frozenset((tuple(v.uid for v in m), c) for m, c in self.terms.items())

    @staticmethod
    def const(c: int) -> Poly:
        return Poly({(): c})

    @staticmethod
    def of(value: Value) -> Poly:
        """A scalar value as a polynomial; sums and products of constants are folded."""
        op = value.op
        if op is not None:
            if op.name == "arith.constant":
                return Poly.const(int(op.attrs["value"]))
            if op.name in ("arith.extsi", "arith.index_cast") and op.operands[0].type.bits > 1:
                return Poly.of(op.operands[0])
        return Poly({(value,): 1})

    @property
    def number(self) -> int | None:
        """The value when it is a known number."""
        if not self.terms:
            return 0
        if len(self.terms) == 1 and () in self.terms:
            return self.terms[()]
        return None

    def __add__(self, other: Poly) -> Poly:
        terms = dict(self.terms)
        for m, c in other.terms.items():
            terms[m] = terms.get(m, 0) + c
        return Poly(terms)

    def __mul__(self, other: Poly) -> Poly:
        terms: dict[Monomial, int] = {}
        for m, c in self.terms.items():
            for n, d in other.terms.items():
                k = tuple(sorted(m + n, key=lambda v: v.uid))
                terms[k] = terms.get(k, 0) + c * d
        return Poly(terms)

    def scaled(self, k: int) -> Poly:
        return Poly({m: c * k for m, c in self.terms.items()})

    def __neg__(self) -> Poly:
        return self.scaled(-1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Poly) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return " + ".join("*".join([str(c), *map(repr, m)]) for m, c in self.terms.items()) or "0"


ZERO = Poly({})
ONE = Poly.const(1)

DimMap = tuple[int | None, ...]


@dataclass(frozen=True)
class Term:
    """coef * tile[...]: a tile that is not affine, read at the dimensions `dims` of the form (None: index 0)."""

    value: Value
    dims: DimMap
    coef: Poly


@dataclass(frozen=True)
class Form:
    """base + sum(coefs[d] * i_d) + sum(terms), an i64 function of the indices of a tile."""

    base: Poly
    coefs: tuple[Poly, ...]
    terms: tuple[Term, ...] = ()

    @property
    def uniform(self) -> bool:
        return not self.terms and all(c.number == 0 for c in self.coefs)

    @property
    def affine(self) -> bool:
        return not self.terms

    def depends(self, dim: int) -> bool:
        return self.coefs[dim].number != 0 or any(dim in t.dims for t in self.terms)

    def __add__(self, other: Form) -> Form:
        coefs = tuple(a + b for a, b in zip(self.coefs, other.coefs, strict=True))
        merged: dict[tuple[Value, DimMap], Poly] = {}
        for t in self.terms + other.terms:
            key = (t.value, t.dims)
            merged[key] = merged.get(key, ZERO) + t.coef
        terms = tuple(Term(v, d, c) for (v, d), c in merged.items() if c.number != 0)
        return Form(self.base + other.base, coefs, terms)

    def times(self, k: Poly) -> Form:
        return Form(
            self.base * k,
            tuple(c * k for c in self.coefs),
            tuple(Term(t.value, t.dims, t.coef * k) for t in self.terms),
        )

    def remap(self, rank: int, where: DimMap) -> Form:
        """The same form over `rank` dimensions: old dimension d becomes where[d] (None: it has one element)."""
        coefs = [ZERO] * rank
        for d, to in enumerate(where):
            if to is not None:
                coefs[to] = coefs[to] + self.coefs[d]
        terms = tuple(
            Term(t.value, tuple(None if d is None else where[d] for d in t.dims), t.coef) for t in self.terms
        )
        return Form(self.base, tuple(coefs), terms)


@dataclass(frozen=True)
class Address:
    """A tile of pointers: scalar pointer `base` plus `offset` elements; base None: the pointers themselves are a tile."""

    base: Value | None
    offset: Form


def identity(rank: int, shape: tuple[int, ...]) -> DimMap:
    return tuple(d if shape[d] > 1 else None for d in range(rank))


def reshape_ones(source: tuple[int, ...], target: tuple[int, ...]) -> DimMap | None:
    """Where the dimensions of source go when a reshape only adds or drops dimensions of size 1."""
    s = [d for d in range(len(source)) if source[d] > 1]
    t = [d for d in range(len(target)) if target[d] > 1]
    if [source[d] for d in s] != [target[d] for d in t]:
        return None
    where: list[int | None] = [None] * len(source)
    for a, b in zip(s, t, strict=True):
        where[a] = b
    return tuple(where)


def operand_dims(value: Value) -> DimMap | None:
    """For a shape operation: the dimension of the result that each dimension of its operand follows."""
    op = value.op
    assert op is not None
    assert value.type.shape is not None
    source = op.operands[0].type.shape
    assert source is not None
    if op.name == "tt.expand_dims":
        axis = op.attrs["axis"]
        return tuple(None if source[d] == 1 else (d if d < axis else d + 1) for d in range(len(source)))
    if op.name == "tt.broadcast":
        return tuple(None if source[d] == 1 else d for d in range(len(source)))
    if op.name == "tt.trans":
        order = op.attrs["order"]
        return tuple(None if source[d] == 1 else order.index(d) for d in range(len(source)))
    if op.name == "tt.reshape":
        return reshape_ones(source, value.type.shape)
    return None


def compose(outer: DimMap, inner: DimMap) -> DimMap:
    """inner maps operand dims to result dims, outer maps result dims to nest dims."""
    return tuple(None if d is None else outer[d] for d in inner)


class Analysis:
    """Forms of the values of one function, computed when asked for."""

    def __init__(self) -> None:
        self._forms: dict[Value, Form] = {}
        self._addresses: dict[Value, Address] = {}

    def form(self, value: Value) -> Form:
        found = self._forms.get(value)
        if found is None:
            found = self._forms[value] = self._form(value)
        return found

    def _opaque(self, value: Value) -> Form:
        shape = value.type.shape
        assert shape is not None
        return Form(ZERO, (ZERO,) * len(shape), (Term(value, identity(len(shape), shape), ONE),))

    def _form(self, value: Value) -> Form:
        shape = value.type.shape
        op = value.op
        if shape is None:
            return Form(Poly.of(value), ())
        rank = len(shape)
        zeros = (ZERO,) * rank
        if op is None or value.type.dtype not in ("i32", "i64"):
            return self._opaque(value)
        name, operands = op.name, op.operands
        if name == "arith.constant":
            return Form(Poly.const(int(op.attrs["value"])), zeros)
        if name == "tt.splat":
            return Form(Poly.of(operands[0]), zeros)
        if name == "tt.make_range":
            coefs = (ONE,) if shape[0] > 1 else zeros
            return Form(Poly.const(op.attrs["start"]), coefs)
        if name in ("tt.expand_dims", "tt.broadcast", "tt.trans", "tt.reshape"):
            where = operand_dims(value)
            if where is not None:
                return self.form(operands[0]).remap(rank, where)
            split = self._split(self.form(operands[0]), operands[0].type.shape or (), shape)
            return split or self._opaque(value)
        if name == "arith.addi":
            return self.form(operands[0]) + self.form(operands[1])
        if name == "arith.subi":
            return self.form(operands[0]) + self.form(operands[1]).times(Poly.const(-1))
        if name == "arith.muli":
            a, b = self.form(operands[0]), self.form(operands[1])
            if b.uniform:
                return a.times(b.base)
            if a.uniform:
                return b.times(a.base)
        if name == "arith.shli" and isinstance(operands[1].constant, int) and operands[1].constant < 31:
            return self.form(operands[0]).times(Poly.const(1 << operands[1].constant))
        if name == "arith.extsi" and operands[0].type.bits >= 32:
            return self.form(operands[0])
        if name == "arith.extui" and operands[0].type.bits >= 32:
            inner = self.form(operands[0])
            parts = [inner.base.number, *(c.number for c in inner.coefs)]
            if inner.affine and all(p is not None and p >= 0 for p in parts):
                return inner
        return self._opaque(value)

    @staticmethod
    def _split(form: Form, source: tuple[int, ...], target: tuple[int, ...]) -> Form | None:
        """One dimension cut into several: still affine."""
        big = [d for d in range(len(source)) if source[d] > 1]
        if len(big) != 1 or form.terms:
            return None
        coefs, stride = [ZERO] * len(target), 1
        for d in reversed(range(len(target))):
            if target[d] > 1:
                coefs[d] = form.coefs[big[0]].scaled(stride)
            stride *= target[d]
        return Form(form.base, tuple(coefs))

    def address(self, value: Value) -> Address:
        found = self._addresses.get(value)
        if found is None:
            found = self._addresses[value] = self._address(value)
        return found

    def _address(self, value: Value) -> Address:
        shape, op = value.type.shape, value.op
        if shape is None:
            return Address(value, Form(ZERO, ()))
        zeros = (ZERO,) * len(shape)
        opaque = Address(None, self._opaque(value))
        if op is None:
            return opaque
        if op.name == "tt.splat":
            return Address(op.operands[0], Form(ZERO, zeros))
        if op.name == "tt.addptr":
            inner = self.address(op.operands[0])
            if inner.base is not None:
                return Address(inner.base, inner.offset + self.form(op.operands[1]))
            return opaque
        if op.name == "tt.bitcast" and _same_step(value.type, op.operands[0].type):
            return self.address(op.operands[0])
        if op.name in ("tt.expand_dims", "tt.broadcast", "tt.trans", "tt.reshape"):
            inner = self.address(op.operands[0])
            where = operand_dims(value)
            if where is not None and inner.base is not None:
                return Address(inner.base, inner.offset.remap(len(shape), where))
        return opaque

    # masks ------------------------------------------------------------------------------------

    def conjuncts(self, value: Value, dims: DimMap) -> list[tuple[Value, DimMap]]:
        """The comparisons whose conjunction a mask is, each with the nest dimensions of its own dimensions."""
        op = value.op
        if op is not None and value.type.is_tile:
            if op.name == "arith.andi":
                return self.conjuncts(op.operands[0], dims) + self.conjuncts(op.operands[1], dims)
            if op.name in ("tt.broadcast", "tt.expand_dims", "tt.trans", "tt.reshape"):
                where = operand_dims(value)
                if where is not None:
                    return self.conjuncts(op.operands[0], compose(dims, where))
            if op.name == "arith.constant" and op.attrs["value"]:
                return []
        return [(value, dims)]

    def difference(self, value: Value) -> Form | None:
        """For a comparison lhs < rhs of index tiles: rhs - lhs, so that it holds where the form is > 0."""
        op = value.op
        if op is None or op.name != "arith.cmpi" or not value.type.is_tile:
            return None
        predicate = op.attrs["predicate"]
        if op.operands[0].type.dtype not in ("i32", "i64"):
            return None
        left, right = (self.form(o) for o in op.operands)
        minus = Poly.const(-1)
        one = Form(ONE, (ZERO,) * len(left.coefs))
        if predicate == "slt":
            return right + left.times(minus)
        if predicate == "sle":
            return right + left.times(minus) + one
        if predicate == "sgt":
            return left + right.times(minus)
        if predicate == "sge":
            return left + right.times(minus) + one
        return None


def _same_step(a: Type, b: Type) -> bool:
    """Do pointers of these types advance by the same number of bytes?"""
    return a.pointee is not None and b.pointee is not None and a.pointee.bytes == b.pointee.bytes


def root_argument(value: Value) -> Value:
    """The pointer that scalar pointer arithmetic started from."""
    while value.op is not None and value.op.name in ("tt.addptr", "tt.bitcast"):
        value = value.op.operands[0]
    return value
