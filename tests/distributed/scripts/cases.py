# Cases that a script runs on each rank, one after the other; a test looks for "passed <name>" in what the ranks print.
import traceback
from collections.abc import Callable

CASES: dict[str, Callable[[], None]] = {}


def case(function: Callable[[], None]) -> Callable[[], None]:
    CASES[function.__name__] = function
    return function


def run_all() -> None:
    """Prints "passed <name>" or "failed <name>: why" for each, then the operators that fell back to the CPU."""
    import paddle

    import openxpu.paddle

    for name, function in CASES.items():
        try:
            function()
            paddle.device.xpu.synchronize()
            print(f"passed {name}", flush=True)
        except Exception:
            print(f"failed {name}: {traceback.format_exc()}", flush=True)
    print("fallbacks", openxpu.paddle.fallbacks(), flush=True)
