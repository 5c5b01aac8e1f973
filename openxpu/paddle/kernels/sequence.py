# phi kernels of sequences, mapped to openxpu.ops.sequence.

from __future__ import annotations

from openxpu.ops import sequence
from openxpu.ops.plan import PlanBuilder, Tensor
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required


@phi_kernel
def viterbi_decode(
    b: PlanBuilder,
    x: Tensor,
    transition: Tensor,
    length: Tensor,
    include_bos_eos_tag: bool,
    scores: Tensor,
    path: Tensor,
) -> None:
    scores, path = required(b, scores, x.dtype), required(b, path, "i64")
    sequence.plan_viterbi(b, x, transition, length, scores, path, include_bos_eos_tag)


@phi_kernel
def crf_decoding(
    b: PlanBuilder,
    emission: Tensor,
    transition: Tensor,
    label: Tensor | None,
    length: Tensor | None,
    path: Tensor,
) -> None:
    sequence.plan_crf_decoding(b, emission, transition, label, length, required(b, path, "i64"))


@phi_kernel
def gather_tree(b: PlanBuilder, ids: Tensor, parents: Tensor, out: Tensor) -> None:
    sequence.plan_gather_tree(b, ids, parents, out)


@phi_kernel
def edit_distance(
    b: PlanBuilder, hyps: Tensor, refs: Tensor, hypslength: Tensor | None, refslength: Tensor | None, normalized: bool,
    sequencenum: Tensor, out: Tensor,
) -> None:  # fmt: skip
    count, out = required(b, sequencenum, "i64"), required(b, out, "f32")
    sequence.plan_edit_distance(b, hyps, refs, hypslength, refslength, count, out, normalized)


@phi_kernel
def sequence_mask_scalar(b: PlanBuilder, x: Tensor, max_len: int, out_dtype: str, y: Tensor) -> None:
    sequence.plan_sequence_mask(b, x, required(b, y, out_dtype))
