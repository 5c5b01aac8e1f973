# Registered phi kernels that have no row, with the reason.
from __future__ import annotations

OLD = "only programs of the old format (ProgramDesc) reach it; its plan is that of {}"

EXCEPTIONS = {
    "negative": "no call of Paddle 3.3 reaches it: paddle.neg is scale; its plan is that of the function table of activations",
    "batch_norm_infer": OLD.format("batch_norm in inference"),
    "uniform_raw": OLD.format("uniform"),
    "dropout_nd": OLD.format("dropout"),
    "dropout_nd_grad": OLD.format("dropout_grad"),
    "prod_infer": OLD.format("prod"),
    "strided_slice_raw": OLD.format("strided_slice"),
    "unique_raw": OLD.format("unique"),
    "strided_slice_raw_grad": OLD.format("strided_slice_grad"),
    "anchor_generator": "programs only: tests/paddle/test_anchor_generator.py",
    "fused_conv2d_add_act": "programs only: tests/ops/test_ending.py, tests/paddle/test_inference_fusion.py",
    "c_identity": "between ranks: tests/distributed/test_collectives.py",
    **dict.fromkeys(
        ("all_gather", "all_reduce", "all_to_all", "broadcast", "reduce_scatter"),
        "between ranks, in programs: tests/distributed/test_layers.py",
    ),
    "decayed_adagrad": "programs of the old format only: tests/ops/test_optimizer.py",
    **dict.fromkeys(
        ("asgd", "average_accumulates", "lamb", "lars_momentum", "nadam", "radam", "rprop"),
        "steps of whole optimizers: tests/paddle/test_optimizers.py",
    ),
    **dict.fromkeys(
        ("binomial", "dirichlet", "exponential", "poisson", "standard_gamma"),
        "goodness of fit: tests/paddle/test_distributions.py",
    ),
    **dict.fromkeys(
        (
            "add_double_grad", "log_double_grad", "matmul_double_grad", "multiply_double_grad", "multiply_triple_grad",
            "pow_triple_grad", "sigmoid_triple_grad", "softplus_double_grad", "subtract_double_grad",
            "tanh_double_grad", "tanh_triple_grad",
        ),
        "eager mode composes it of other kernels: its plan in tests/ops/test_higher_grad.py",
    ),
    **dict.fromkeys(
        ("as_complex", "as_real", "imag", "imag_grad", "real", "real_grad"),
        "eager mode makes a view: its plan in tests/ops/test_complex.py",
    ),
    **dict.fromkeys(
        ("gammaincc_grad", "soft_relu", "soft_relu_grad"), "no call of Paddle reaches it: tests/ops/test_arithmetic.py"
    ),
    **dict.fromkeys(("coalesce_tensor", "set", "share_data"), "shares memory: tests/paddle/test_shared_memory.py"),
    **dict.fromkeys(("diagonal", "diagonal_grad"), "eager mode makes a view: tests/paddle/test_diagonals.py"),
    **dict.fromkeys(
        (
            "blha_get_max_len", "flash_attn_qkvpacked", "flash_attn_qkvpacked_grad", "fused_dot_product_attention",
            "fused_dot_product_attention_grad", "memory_efficient_attention", "memory_efficient_attention_grad",
            "self_dp_attention", "variable_length_memory_efficient_attention",
        ),
        "Paddle's CPU has no kernel: tests/paddle/test_attention.py",
    ),
    **dict.fromkeys(
        ("block_multihead_attention", "masked_multihead_attention"),
        "Paddle's CPU has no kernel: tests/paddle/test_decode.py",
    ),
    **dict.fromkeys(
        ("fused_dropout_add", "fused_dropout_add_grad", "fused_rms_norm_ext_grad"),
        "Paddle's CPU has no kernel: tests/paddle/test_fused_layers.py",
    ),
    **dict.fromkeys(
        ("dequantize_linear", "moving_average_abs_max_scale", "quantize_linear"),
        "several outputs that are states: tests/paddle/test_quantize.py",
    ),
    **dict.fromkeys(
        (
            "fake_channel_wise_quantize_dequantize_abs_max_grad", "fake_quantize_dequantize_abs_max_grad",
            "fake_quantize_dequantize_moving_average_abs_max_grad", "gumbel_softmax_grad",
            "index_elementwise_put_with_tensor_grad",
        ),
        "a gradient that is not the derivative, or of a draw: tests/paddle/test_other_gradients.py",
    ),
}  # fmt: skip
