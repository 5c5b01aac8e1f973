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
    "strided_slice_raw_grad": OLD.format("strided_slice_grad"),
}
