# Operator library: framework-neutral functions over device arrays, and the planners behind them.
"""An operator is some Triton kernels (`kernels/`) and a plan function (`plan_softmax`), which says for given shapes
and dtypes which kernels to launch. The public functions (`openxpu.ops.softmax`) run plans on device arrays."""

from openxpu.ops.plan import (
    F64,
    I64,
    OFFSET,
    SEED,
    Dynamic,
    PlanBuilder,
    Tensor,
    Unsupported,
)

__all__ = ["F64", "I64", "OFFSET", "SEED", "Dynamic", "PlanBuilder", "Tensor", "Unsupported"]
