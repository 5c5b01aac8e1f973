"""Runs the sample cases of rows with all card memory between guard pages: the name of a row, then "done". Needs
OPENXPU_GUARD=1, and FLAGS_free_idle_chunk=1, with which Paddle gives every tensor memory of its own. The argument is the
number of the first row."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import paddle
from conformance import engine
from conformance.row import fast_cases
from conformance.tables import ROWS

if __name__ == "__main__":
    paddle.disable_static()
    paddle.set_device("xpu")
    tensor = paddle.arange(7)
    if (tensor.data_ptr() + 7 * 8) % 4096 != 0:
        sys.exit("tensors do not end at guard pages")
    for number, row in enumerate(ROWS[int(sys.argv[1]) :], int(sys.argv[1])):
        print(number, row.name, flush=True)
        for case in fast_cases(row):
            try:
                engine.run(case, engine.inputs_of(case), engine.card(), None, case.differentiable)
                paddle.device.synchronize()
            except Exception as error:
                print(f"{row.name}: {engine.brief(error)}", file=sys.stderr, flush=True)
    print("done", flush=True)
