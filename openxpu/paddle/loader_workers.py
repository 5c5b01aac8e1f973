# Worker processes of Paddle's DataLoader end with the program that started them, however that ended.
"""A worker of Paddle 3.3 waits for its next batch without a time limit: when the program is killed it waits for ever,
and what it has put into shared memory for the program stays there."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from pathlib import Path
from typing import Any

from openxpu.paddle import after_import

_SECONDS = 0.5
_SHARED_MEMORY = Path("/dev/shm")


def end_with(parent: int) -> None:
    """Waits until `parent` is gone, then ends this process and what it left in shared memory."""
    while os.getppid() == parent:
        time.sleep(_SECONDS)
    for file in _SHARED_MEMORY.glob(f"paddle_{os.getpid()}_*"):
        with contextlib.suppress(OSError):
            file.unlink()
    os._exit(1)


def _patch(module: Any) -> None:
    original = module._worker_loop

    @functools.wraps(original)
    def worker_loop(*args: Any, **keywords: Any) -> Any:
        threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
        return original(*args, **keywords)

    module._worker_loop = worker_loop


def install() -> None:
    """Takes effect when Paddle's DataLoader is imported."""
    after_import.install({"paddle.io.dataloader.worker": _patch})
