# phi kernels of attention, mapped to openxpu.ops.attention.

from __future__ import annotations

import math

from openxpu.ops import attention
from openxpu.ops.attention import Mask, Packed, Padded, plan_seeds
from openxpu.ops.decode import plan_decode, plan_paged_attention
from openxpu.ops.plan import PlanBuilder, Tensor, Unsupported
from openxpu.ops.reduce import accumulation_dtype, plan_reduce
from openxpu.paddle.kernels import phi_kernel
from openxpu.paddle.outputs import required, unused


def _scale(q: Tensor) -> float:
    return 1 / math.sqrt(max(q.shape[-1], 1))


def _seeds(
    b: PlanBuilder, fixed: Tensor | None, seed_offset: Tensor, dropout: float, is_test: bool, counters: int
) -> tuple[Tensor, float]:
    """(where key and counter are, the probability of dropping a weight). Without dropout nothing is written."""
    seeds = required(b, seed_offset, "i64")
    drop = 0.0 if is_test else dropout
    if drop >= 1:
        raise Unsupported(f"attention that drops weights with probability {drop} keeps none.")
    if drop > 0:
        plan_seeds(b, fixed, seeds, counters)
    return seeds, drop


def _forward(
    b: PlanBuilder, q: Tensor, k: Tensor, v: Tensor, fixed: Tensor | None, bias: Tensor | None, bounds: Tensor | None,
    dropout: float, causal: bool, return_softmax: bool, is_test: bool, out: Tensor, softmax: Tensor, lse: Tensor,
    seed_offset: Tensor,
) -> None:  # fmt: skip
    lse = required(b, lse, accumulation_dtype(q.dtype))
    seeds, drop = _seeds(
        b, fixed, seed_offset, dropout, is_test, q.shape[0] * q.shape[2] * q.shape[1] * k.shape[1]
    )
    mask = Mask(bias, bounds, seeds, drop)
    attention.plan_flash_attention(b, q, k, v, out, lse, _scale(q), causal, mask)
    if return_softmax:
        b.zero(softmax)
        attention.plan_attention_weights(b, q, k, lse, softmax, _scale(q), causal, mask)
    else:
        unused(b, softmax)


def _of_the_result(dout: Tensor | None) -> Tensor:
    if dout is None:
        raise Unsupported(
            "the weights that attention returns have no gradient of their own; only its result has."
        )
    return dout


@phi_kernel
def flash_attn(
    b: PlanBuilder, q: Tensor, k: Tensor, v: Tensor, fixed_seed_offset: Tensor | None, attn_mask: Tensor | None,
    dropout: float, causal: bool, return_softmax: bool, is_test: bool, rng_name: str,
    out: Tensor, softmax: Tensor, softmax_lse: Tensor, seed_offset: Tensor,
) -> None:  # fmt: skip
    bias = None if causal else attn_mask
    _forward(
        b, q, k, v, fixed_seed_offset, bias, None, dropout, causal, return_softmax, is_test, out, softmax,
        softmax_lse, seed_offset,
    )  # fmt: skip


@phi_kernel
def flash_attn_grad(
    b: PlanBuilder, q: Tensor, k: Tensor, v: Tensor, out: Tensor, softmax_lse: Tensor, seed_offset: Tensor,
    attn_mask: Tensor | None, dout: Tensor | None, dropout: float, causal: bool,
    dq: Tensor | None, dk: Tensor | None, dv: Tensor | None,
) -> None:  # fmt: skip
    dout = _of_the_result(dout)
    mask = Mask(None if causal else attn_mask, None, seed_offset, dropout)
    attention.plan_flash_attention_grad(
        b, q, k, v, out, softmax_lse, dout, dq, dk, dv, _scale(q), causal, mask
    )


@phi_kernel
def flashmask_attention(
    b: PlanBuilder, q: Tensor, k: Tensor, v: Tensor, startend_row_indices: Tensor, fixed_seed_offset: Tensor | None,
    dropout: float, causal: bool, return_softmax: bool, is_test: bool, rng_name: str,
    out: Tensor, softmax: Tensor, softmax_lse: Tensor, seed_offset: Tensor,
) -> None:  # fmt: skip
    _forward(
        b, q, k, v, fixed_seed_offset, None, startend_row_indices, dropout, causal, return_softmax, is_test, out, softmax,
        softmax_lse, seed_offset,
    )  # fmt: skip


@phi_kernel
def flashmask_attention_grad(
    b: PlanBuilder, q: Tensor, k: Tensor, v: Tensor, startend_row_indices: Tensor, out: Tensor, softmax_lse: Tensor,
    seed_offset: Tensor, dout: Tensor, dropout: float, causal: bool,
    dq: Tensor | None, dk: Tensor | None, dv: Tensor | None,
) -> None:  # fmt: skip
    mask = Mask(None, startend_row_indices, seed_offset, dropout)
    attention.plan_flash_attention_grad(
        b, q, k, v, out, softmax_lse, dout, dq, dk, dv, _scale(q), causal, mask
    )


@phi_kernel
def flash_attn_unpadded(
    b: PlanBuilder, q: Tensor, k: Tensor, v: Tensor, cu_seqlens_q: Tensor, cu_seqlens_k: Tensor,
    fixed_seed_offset: Tensor | None, attn_mask: Tensor | None, max_seqlen_q: int, max_seqlen_k: int, scale: float,
    dropout: float, causal: bool, return_softmax: bool, is_test: bool, rng_name: str,
    out: Tensor, softmax: Tensor, softmax_lse: Tensor, seed_offset: Tensor,
) -> None:  # fmt: skip
    if attn_mask is not None or return_softmax:
        raise Unsupported(
            "attention of packed sequences takes no mask and returns no weights; pad them for these."
        )
    packed = Packed(cu_seqlens_q, cu_seqlens_k, int(max_seqlen_q), int(max_seqlen_k))
    lse = required(b, softmax_lse, accumulation_dtype(q.dtype))
    unused(b, softmax)
    batch = cu_seqlens_q.numel - 1
    seeds, drop = _seeds(
        b, fixed_seed_offset, seed_offset, dropout, is_test, batch * q.shape[1] * packed.longest_q * packed.longest_k
    )  # fmt: skip
    attention.plan_flash_attention(b, q, k, v, out, lse, scale, causal, Mask(seeds=seeds, drop=drop), packed)


@phi_kernel
def flash_attn_unpadded_grad(
    b: PlanBuilder, q: Tensor, k: Tensor, v: Tensor, cu_seqlens_q: Tensor, cu_seqlens_k: Tensor, out: Tensor,
    softmax_lse: Tensor, seed_offset: Tensor, attn_mask: Tensor | None, dout: Tensor, max_seqlen_q: int,
    max_seqlen_k: int, scale: float, dropout: float, causal: bool,
    dq: Tensor | None, dk: Tensor | None, dv: Tensor | None,
) -> None:  # fmt: skip
    packed = Packed(cu_seqlens_q, cu_seqlens_k, int(max_seqlen_q), int(max_seqlen_k))
    mask = Mask(seeds=seed_offset, drop=dropout)
    attention.plan_flash_attention_grad(
        b, q, k, v, out, softmax_lse, dout, dq, dk, dv, scale, causal, mask, packed
    )


@phi_kernel
def calc_reduced_attn_scores(
    b: PlanBuilder, q: Tensor, k: Tensor, softmax_lse: Tensor, reduced_scores: Tensor
) -> None:
    attention.plan_attention_weights(b, q, k, softmax_lse, reduced_scores, _scale(q), False, summed=True)


@phi_kernel
def variable_length_memory_efficient_attention(
    b: PlanBuilder, query: Tensor, key: Tensor, value: Tensor, seq_lens: Tensor, kv_seq_lens: Tensor,
    mask: Tensor | None, scale: float, causal: bool, pre_cache_length: int, out: Tensor,
) -> None:  # fmt: skip
    q, k, v, rows = (t.permute(0, 2, 1, 3) for t in (query, key, value, out))
    b.zero(out)
    if mask is not None:  # it may be longer than what it masks
        mask = mask.view((*mask.shape[:2], q.shape[1], k.shape[1]), mask.strides)
    lse = b.scratch((q.shape[0], q.shape[2], q.shape[1]), accumulation_dtype(q.dtype))
    lengths = Padded(seq_lens, kv_seq_lens, pre_cache_length)
    attention.plan_flash_attention(b, q, k, v, rows, lse, scale, causal, Mask(bias=mask), lengths)


@phi_kernel
def self_dp_attention(b: PlanBuilder, x: Tensor, alpha: float, head_number: int, out: Tensor) -> None:
    batch, rows, _, heads, depth = x.shape
    strides = (x.strides[0], x.strides[1], x.strides[3], x.strides[4])
    q, k, v = (x.view((batch, rows, heads, depth), strides, i * x.strides[2]) for i in range(3))
    lse = b.scratch((batch, heads, rows), accumulation_dtype(x.dtype))
    attention.plan_flash_attention(b, q, k, v, out.reshape(batch, rows, heads, depth), lse, alpha, False)


@phi_kernel
def blha_get_max_len(
    b: PlanBuilder, seq_lens_encoder: Tensor, seq_lens_decoder: Tensor, batch_size: Tensor,
    max_enc_len_this_time: Tensor, max_dec_len_this_time: Tensor,
) -> None:  # fmt: skip
    pairs = ((seq_lens_encoder, max_enc_len_this_time), (seq_lens_decoder, max_dec_len_this_time))
    for lengths, longest in pairs:
        plan_reduce(b, lengths.reshape(-1), longest.reshape(1), (0,), "max")


@phi_kernel
def masked_multihead_attention(
    b: PlanBuilder, x: Tensor, cache_kv: Tensor, bias: Tensor | None, src_mask: Tensor | None, cum_offsets: Tensor | None,
    sequence_lengths: Tensor | None, rotary_tensor: Tensor | None, beam_cache_offset: Tensor | None,
    qkv_out_scale: Tensor | None, out_shift: Tensor | None, out_smooth: Tensor | None, seq_len: int, rotary_emb_dims: int,
    use_neox_rotary_style: bool, compute_dtype: str, out_scale: float, quant_round_type: int, quant_max_bound: float,
    quant_min_bound: float, out: Tensor, cache_kv_out: Tensor, beam_cache_offset_out: Tensor | None,
) -> None:  # fmt: skip
    if beam_cache_offset is not None or qkv_out_scale is not None or out_shift is not None or out_scale > 0:
        raise Unsupported(
            "masked_multihead_attention is planned without beams and without 8-bit inputs or results."
        )
    unused(b, cache_kv_out, beam_cache_offset_out)
    plan_decode(
        b,
        x,
        cache_kv,
        bias,
        src_mask,
        sequence_lengths,
        rotary_tensor,
        out,
        rotary_emb_dims,
        use_neox_rotary_style,
    )


def _parts(qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q, k and v as views of [batch, rows, groups + 2, heads of keys, depth]: a group has one query for each head of keys,
    and the heads of queries are in the order of the groups."""
    batch, rows, parts, own, depth = qkv.shape
    sb, sr, sp, sh, sd = qkv.strides
    if sp != own * sh and parts > 3:
        raise Unsupported("packed queries, keys and values need groups that follow each other without gaps.")
    q = qkv.view((batch, rows, (parts - 2) * own, depth), (sb, sr, sh, sd))
    k, v = (qkv.view((batch, rows, own, depth), (sb, sr, sh, sd), (parts - 2 + i) * sp) for i in range(2))
    return q, k, v


def _one_query_for_a_key(qkv: Tensor) -> None:
    # The heads of queries that share a head of keys are neighbours elsewhere, here they are `heads of keys` apart.
    if qkv.shape[2] != 3 and qkv.shape[3] != 1:
        raise Unsupported(
            "packed queries, keys and values are planned with as many heads of queries as of keys."
        )


@phi_kernel
def flash_attn_qkvpacked(
    b: PlanBuilder, qkv: Tensor, fixed_seed_offset: Tensor | None, attn_mask: Tensor | None, dropout: float, causal: bool,
    return_softmax: bool, is_test: bool, rng_name: str, out: Tensor, softmax: Tensor, softmax_lse: Tensor,
    seed_offset: Tensor,
) -> None:  # fmt: skip
    _one_query_for_a_key(qkv)
    q, k, v = _parts(qkv)
    bias = None if causal else attn_mask
    _forward(
        b, q, k, v, fixed_seed_offset, bias, None, dropout, causal, return_softmax, is_test, out, softmax,
        softmax_lse, seed_offset,
    )  # fmt: skip


@phi_kernel
def flash_attn_qkvpacked_grad(
    b: PlanBuilder, qkv: Tensor, out: Tensor, softmax_lse: Tensor, seed_offset: Tensor, attn_mask: Tensor | None,
    dout: Tensor | None, dropout: float, causal: bool, dqkv: Tensor,
) -> None:  # fmt: skip
    q, k, v = _parts(qkv)
    dq, dk, dv = _parts(dqkv)
    mask = Mask(None if causal else attn_mask, None, seed_offset, dropout)
    attention.plan_flash_attention_grad(
        b, q, k, v, out, softmax_lse, _of_the_result(dout), dq, dk, dv, _scale(q), causal, mask
    )


def _dot_product_mask(
    mask_type: str, bias_type: str, bias: Tensor | None, cu: Tensor | None
) -> tuple[bool, Tensor | None]:
    """(causal, what is added to scores)."""
    if mask_type not in ("none", "causal") or bias_type not in ("none", "post_scale_bias") or cu is not None:
        raise Unsupported(
            f"fused_dot_product_attention is planned with mask none or causal and a bias after the scale, for whole "
            f"sequences; found mask {mask_type!r}, bias {bias_type!r}."
        )
    return mask_type == "causal", bias if bias_type == "post_scale_bias" else None


@phi_kernel
def fused_dot_product_attention(
    b: PlanBuilder, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, cu_seqlen_q: Tensor | None,
    cu_seqlen_kv: Tensor | None, scaling_factor: float, dropout_probability: float, is_training: bool, mask_type: str,
    bias_type: str, out: Tensor, softmax_out: Tensor, rng_state: Tensor,
) -> None:  # fmt: skip
    causal, added = _dot_product_mask(mask_type, bias_type, bias, cu_seqlen_q)
    counters = q.shape[0] * q.shape[2] * q.shape[1] * k.shape[1]
    seeds, drop = _seeds(b, None, rng_state, dropout_probability, not is_training, counters)
    lse = required(b, softmax_out, accumulation_dtype(q.dtype)).reshape(q.shape[0], q.shape[2], q.shape[1])
    attention.plan_flash_attention(
        b, q, k, v, out, lse, scaling_factor, causal, Mask(added, None, seeds, drop)
    )


@phi_kernel
def fused_dot_product_attention_grad(
    b: PlanBuilder, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, cu_seqlen_q: Tensor | None,
    cu_seqlen_kv: Tensor | None, out: Tensor, softmax_out: Tensor, rng_state: Tensor, dout: Tensor,
    scaling_factor: float, dropout_probability: float, mask_type: str, bias_type: str,
    dq: Tensor | None, dk: Tensor | None, dv: Tensor | None, dbias: Tensor | None,
) -> None:  # fmt: skip
    if dbias is not None:
        raise Unsupported(
            "fused_dot_product_attention has no gradient for its bias; use scaled_dot_product_attention."
        )
    causal, added = _dot_product_mask(mask_type, bias_type, bias, cu_seqlen_q)
    lse = softmax_out.reshape(q.shape[0], q.shape[2], q.shape[1])
    mask = Mask(added, None, rng_state, dropout_probability)
    attention.plan_flash_attention_grad(b, q, k, v, out, lse, dout, dq, dk, dv, scaling_factor, causal, mask)


def _efficient(
    q: Tensor,
    k: Tensor,
    cu_q: Tensor | None,
    cu_k: Tensor | None,
    max_q: int,
    max_k: int,
    causal: bool,
    lse: Tensor,
) -> tuple[Packed | None, Tensor]:
    """(the sequences that a batch of one is made of, where the logarithms lie)."""
    if causal and cu_q is None and q.shape[1] != k.shape[1]:
        raise Unsupported("causal memory_efficient_attention is planned for as many queries as keys.")
    if cu_q is None or cu_k is None:
        return None, lse
    if q.shape[0] != 1:
        raise Unsupported("memory_efficient_attention of packed sequences takes a batch of one.")
    return Packed(cu_q, cu_k, int(max_q), int(max_k)), lse.view((q.shape[2], q.shape[1]))


def _rows_of(tensor: Tensor, packed: Packed | None) -> Tensor:
    """Packed sequences lose their batch of one."""
    return tensor if packed is None else tensor.view(tensor.shape[1:], tensor.strides[1:])


@phi_kernel
def memory_efficient_attention(
    b: PlanBuilder, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, cu_seqlens_q: Tensor | None,
    cu_seqlens_k: Tensor | None, causal_diagonal: Tensor | None, seqlen_k: Tensor | None, max_seqlen_q: int,
    max_seqlen_k: int, causal: bool, dropout_p: float, scale: float, is_test: bool,
    output: Tensor, logsumexp: Tensor, seed_and_offset: Tensor,
) -> None:  # fmt: skip
    if causal_diagonal is not None or seqlen_k is not None:
        raise Unsupported("memory_efficient_attention is planned without padded keys.")
    lse = required(b, logsumexp, accumulation_dtype(query.dtype))
    packed, lse = _efficient(query, key, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, causal, lse)
    batch = 1 if packed is None else packed.q_starts.numel - 1
    counters = query.shape[0] * query.shape[2] * query.shape[1] * key.shape[1] * batch
    seeds, drop = _seeds(b, None, seed_and_offset, dropout_p, is_test, counters)
    q, k, v, out = (_rows_of(t, packed) for t in (query, key, value, output))
    attention.plan_flash_attention(
        b, q, k, v, out, lse, scale if scale > 0 else _scale(q), causal, Mask(bias, None, seeds, drop), packed
    )


@phi_kernel
def memory_efficient_attention_grad(
    b: PlanBuilder, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, cu_seqlens_q: Tensor | None,
    cu_seqlens_k: Tensor | None, output: Tensor, logsumexp: Tensor, seed_and_offset: Tensor, output_grad: Tensor,
    max_seqlen_q: int, max_seqlen_k: int, causal: bool, dropout_p: float, scale: float,
    query_grad: Tensor | None, key_grad: Tensor | None, value_grad: Tensor | None, bias_grad: Tensor | None,
) -> None:  # fmt: skip
    if bias_grad is not None:
        raise Unsupported(
            "memory_efficient_attention has no gradient for its bias; use scaled_dot_product_attention."
        )
    packed, lse = _efficient(
        query, key, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, causal, logsumexp
    )
    q, k, v, out, dout = (_rows_of(t, packed) for t in (query, key, value, output, output_grad))
    dq, dk, dv = (None if t is None else _rows_of(t, packed) for t in (query_grad, key_grad, value_grad))
    attention.plan_flash_attention_grad(
        b, q, k, v, out, lse, dout, dq, dk, dv, scale if scale > 0 else _scale(q), causal,
        Mask(bias, None, seed_and_offset, dropout_p), packed,
    )  # fmt: skip


@phi_kernel
def block_multihead_attention(
    b: PlanBuilder, qkv: Tensor, key_cache: Tensor, value_cache: Tensor, seq_lens_encoder: Tensor,
    seq_lens_decoder: Tensor, seq_lens_this_time: Tensor, padding_offsets: Tensor, cum_offsets: Tensor,
    cu_seqlens_q: Tensor, cu_seqlens_k: Tensor, block_tables: Tensor, pre_key_cache: Tensor | None,
    pre_value_cache: Tensor | None, rope_emb: Tensor | None, mask: Tensor | None, tgt_mask: Tensor | None,
    cache_k_quant_scales: Tensor | None, cache_v_quant_scales: Tensor | None, cache_k_dequant_scales: Tensor | None,
    cache_v_dequant_scales: Tensor | None, qkv_out_scale: Tensor | None, qkv_bias: Tensor | None,
    out_shift: Tensor | None, out_smooth: Tensor | None, max_enc_len_this_time: Tensor | None,
    max_dec_len_this_time: Tensor | None, max_seq_len: int, block_size: int, use_neox_style: bool,
    dynamic_cachekv_quant: bool, quant_round_type: int, quant_max_bound: float, quant_min_bound: float,
    out_scale: float, compute_dtype: str, rope_theta: float,
    fmha_out: Tensor, qkv_out: Tensor, key_cache_out: Tensor, value_cache_out: Tensor,
) -> None:  # fmt: skip
    extras = (
        pre_key_cache,
        mask,
        tgt_mask,
        cache_k_quant_scales,
        cache_k_dequant_scales,
        qkv_out_scale,
        out_shift,
    )
    if any(extra is not None for extra in extras) or out_scale > 0:
        raise Unsupported(
            "block_multihead_attention is planned without masks, prefixes and 8-bit caches, inputs or results."
        )
    unused(b, qkv_out, key_cache_out, value_cache_out)
    plan_paged_attention(
        b, qkv, key_cache, value_cache, block_tables, cu_seqlens_q.reshape(-1), seq_lens_this_time.reshape(-1),
        seq_lens_decoder.reshape(-1), qkv_bias, rope_emb, required(b, fmha_out, qkv.dtype), use_neox_style,
    )  # fmt: skip
