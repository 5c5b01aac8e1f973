# Paddle's launcher on two machines: name spaces joined by a cable (tests/collectives/machines.py), two cards on each.
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from launch import EXAMPLES, end, logs, losses
from machines import ADDRESSES, Cable
from test_examples import TOLERANCE, on_one_card


def launched(cable: Cable, script: Path, *arguments: str, folder: Path, seconds: float) -> list[float]:
    environment = {
        **os.environ, "OPENXPU_CARDS": "2", "OPENXPU_CARD_THREADS": "1", "OPENXPU_CARD_MEMORY": "2G",
        "OPENXPU_COLLECTIVE_TIMEOUT": "90", "GLOG_minloglevel": "2", "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    for name in ("PYTHONSAFEPATH", "PADDLE_MASTER", "MASTER_ADDR", "MASTER_PORT"):
        environment.pop(name, None)
    started = []
    try:
        for machine, address in enumerate(ADDRESSES):
            own = folder / str(machine)
            own.mkdir()
            command = [
                sys.executable, "-m", "paddle.distributed.launch", "--master", f"{ADDRESSES[0]}:6170", "--nnodes", "2",
                "--host", address, "--devices", "0,1", "--log_dir", str(own / "log"), str(script), *arguments,
            ]  # fmt: skip
            with (own / "launcher").open("w") as log:
                started.append(
                    subprocess.Popen(
                        cable.inside(machine, command), cwd=own, env=environment, stdout=log,
                        stderr=subprocess.STDOUT, start_new_session=True,
                    )
                )  # fmt: skip
        for machine, process in enumerate(started):
            where = f"machine {machine}"
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                code = f"no result in {seconds} s"
            text = "\n".join(logs(folder / str(m)) for m in range(2))
            assert code == 0, (
                f"{where}: {code}\n{(folder / str(machine) / 'launcher').read_text()[-2000:]}\n{text}"
            )
    finally:
        for process in started:
            end(process)
    return next(
        found for log in sorted(folder.glob("*/log/workerlog.*")) if (found := losses(log.read_text()))
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        pytest.param("tensor_parallel.py", ["--data", "2"], id="data2-tensor2"),
        pytest.param("hybrid.py", ["--data", "2", "--pipeline", "2"], id="data2-pipeline2"),
        pytest.param("sharding.py", ["os_g"], id="sharding4-stage2"),
    ],
)
def test_losses_of_one_card(
    paddle_xpu: ModuleType,
    cable: Cable,
    script: str,
    arguments: list[str],
    tmp_path: Path,
) -> None:
    found = launched(cable, EXAMPLES / script, *arguments, folder=tmp_path, seconds=400)
    assert found == pytest.approx(on_one_card(), abs=TOLERANCE)
