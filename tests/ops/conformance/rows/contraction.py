# einsum, and products of more than two matrices.
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import normal
from conformance.row import row

PAIRS = [
    ("bhqd,bhkd->bhqk", (2, 3, 9, 4), (2, 3, 5, 4)),
    ("ij,kj->ki", (5, 7), (3, 7)),
    ("bij,bjk->bik", (3, 5, 7), (3, 7, 2)),
    ("bqhd,bkhd->bhqk", (2, 9, 3, 4), (2, 5, 3, 4)),
    ("bhqk,bkhd->bqhd", (2, 3, 9, 5), (2, 5, 3, 4)),
    ("i,i->", (70,), (70,)),
    ("i,j->ij", (4,), (5,)),
    ("ij,ij->i", (6, 40), (6, 40)),
    ("ij,ij->ij", (6, 4), (6, 4)),
    ("bij,kj->kib", (2, 3, 4), (5, 4)),
    ("abcd,cbe->ade", (2, 3, 4, 5), (4, 3, 2)),
    ("ijk,k->ij", (2, 3, 4), (4,)),
    ("blqd,bmd->blqm", (2, 3, 4, 5), (2, 6, 5)),
    ("nct,ncp->ntp", (2, 8, 5), (2, 8, 6)),
    ("ij,jk->ik", (33, 129), (129, 65)),
]
CHAINS = [
    ("ij,jk,kl->il", (3, 4), (4, 5), (5, 6)),
    ("bn,anm,bm->ba", (2, 3), (4, 3, 5), (2, 5)),
    ("ijk,jkl,klm->ilm", (2, 3, 4), (3, 4, 5), (4, 5, 6)),
]


def einsum(*x, equation):
    return paddle.einsum(equation, *x)


def by_numpy(*x, equation):
    return np.einsum(equation, *x)


def listed(table):
    return {"shapes": [], "cases": [(tuple(shapes), {"equation": equation}) for equation, *shapes in table]}


ROWS = [
    row("einsum", einsum, normal, normal, scale="terms", extremes="", **listed(PAIRS)),
    row("einsum", einsum, normal, normal, normal, name="einsum_of_three", scale="terms", extremes="", **listed(CHAINS)),
    row("einsum", einsum, normal, name="einsum_of_one", scale="terms", extremes="", **listed([("ij->ji", (6, 4)), ("ij->j", (6, 4)), ("ij->", (33, 65)), ("...->...", (2, 3)), ("ibj->jb", (3, 4, 5))])),
    # Paddle's CPU kernel does not sum the gradient of what an ellipsis repeats.
    row("einsum", einsum, normal, normal, name="einsum_ellipsis", reference=by_numpy, scale="terms", extremes="", **listed([("...ij,...jk->...ik", (2, 3, 5, 7), (3, 7, 2)), ("b...,b...->...", (4, 3, 5), (4, 1, 5))])),
    # Paddle's CPU kernel gives the gradient of a diagonal to all elements.
    row("einsum", einsum, normal, name="einsum_diagonals", reference=by_numpy, scale="terms", extremes="", **listed([("ii->i", (4, 4)), ("ii->", (5, 5)), ("bii->bi", (2, 3, 3))])),
    row("kron", paddle.kron, normal, normal, shapes=[((2, 3), (4, 5)), ((3,), (2, 4)), ((2, 3, 2), (3, 2)), ((2, 3), (2, 1, 3)), ((1, 1), (1, 1))], scale="terms", extremes=""),
    row("cross", paddle.cross, normal, normal, shapes=[(3, 5), (5, 3), (2, 3, 70), (3,), (0, 3)], attrs=[{"axis": 9}, {"axis": -1}, {"axis": 1}],
        valid=lambda s, a: 3 in s[0] if a["axis"] == 9 else -len(s[0]) <= a["axis"] < len(s[0]) and s[0][a["axis"]] == 3, layouts=("transposed", "strided"), extremes=""),
    row("baddbmm", paddle.baddbmm, normal, normal, normal, shapes=[((3, 5, 4), (3, 5, 7), (3, 7, 4)), ((1, 5, 4), (3, 5, 7), (3, 7, 4)), ((3, 1, 4), (3, 5, 7), (3, 7, 4)), ((1, 1, 1), (2, 33, 65), (2, 65, 20))],
        attrs=[{"beta": 1.0, "alpha": 1.0}, {"beta": 0.5, "alpha": 2.0}], scale="terms", extremes=""),
    row("multi_dot", lambda *x: paddle.linalg.multi_dot(list(x)), normal, normal, normal, shapes=[((3, 4), (4, 5), (5, 6)), ((4,), (4, 5), (5, 6)), ((4,), (4, 5), (5,)), ((33, 2), (2, 65), (65, 3))], scale="terms", extremes=""),
    row("bilinear", paddle.nn.functional.bilinear, normal, normal, normal, normal, shapes=[((6, 5), (6, 4), (7, 5, 4), (1, 7)), ((6, 5), (6, 4), (7, 5, 4), None), ((1, 1), (1, 1), (1, 1, 1), (1, 1)), ((33, 20), (33, 17), (3, 20, 17), (1, 3))], scale="terms", extremes=""),
]  # fmt: skip
