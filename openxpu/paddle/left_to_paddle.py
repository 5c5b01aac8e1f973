# Kernels that other back ends of Paddle have and the card has not, with the reason.
"""Those of one reason stand together. What is not computed is no loss; what would be is said to run on the CPU."""

from __future__ import annotations

_GROUPS = {
    "Paddle's own kernel for all devices: it changes the description of a tensor, not its elements.": (
        "as_strided empty empty_like flatten flatten_grad flatten_with_xshape numel reshape reshape_grad reshape_with_xshape "
        "shape shape64 shape64_sr shape_sr"
    ),
    "Paddle's own kernel for all devices: it copies between host and card, or waits, by the device's interface.": (
        "barrier memcpy memcpy_d2h memcpy_d2h_multi_io memcpy_h2d print_kernel sync_calc_stream"
    ),
    "Reads or writes a file, which the host does.": "load load_combine load_combine_extended load_combine_vocab save",
    "Lists of tensors on the host; what their elements go through runs on the card.": (
        "add_n_array array_pop array_read array_to_tensor array_write assign_array create_array create_array_like "
        "slice_array slice_array_dense slice_array_dense_grad slice_array_grad strided_slice_array strided_slice_array_grad"
    ),
    "Sparse rows (SelectedRows), whose rows are a list on the host.": (
        "adam_dense_param_sparse_grad embedding_sparse_grad full_sr full_with_tensor_sr sgd_dense_param_sparse_grad "
        "uniform_raw_sr uniform_sr"
    ),
    "Makes a sparse tensor; the card's tensors are dense.": "sparse_coo_tensor",
    "Between the ranks of a pipeline, in programs only; they run on the CPU.": (
        "p_recv p_recv_array p_send p_send_array"
    ),
    "The order of the steps depends on the numbers, step after step; it runs on the CPU.": "beam_search beam_search_decode",
    "Only programs of the old format have it; there it runs on the CPU.": (
        "dequantize_linear_deprecated einsum_infer fc flatten2 flatten2_grad legacy_matmul legacy_matmul_grad one_hot_raw "
        "pow2_decay_with_linear_warmup quantize_linear_deprecated_infer randint_with_seed sequence_conv sequence_conv_grad "
        "sequence_mask topk_v1"
    ),
    "A gradient of random numbers, which is zero; it runs on the CPU.": "gaussian_inplace_grad uniform_inplace_grad",
    "Only Paddle's passes for oneDNN make it.": (
        "conv2d_transpose_bias fused_elementwise_add fused_elementwise_div fused_elementwise_mul fused_elementwise_sub"
    ),
    "Only Paddle's passes for another device make it.": "npu_identity transfer_layout",
    "Its random order comes from the host's generator and its sizes from the call; it runs on the CPU.": (
        "shuffle_batch shuffle_batch_grad"
    ),
    "Eigenvalues of general matrices and least squares run on the CPU.": "eig eig_grad eigvals lstsq",
    "Eager mode composes it of other kernels.": "add_triple_grad matmul_triple_grad",
}

LEFT = {kernel: reason for reason, kernels in _GROUPS.items() for kernel in kernels.split()}
