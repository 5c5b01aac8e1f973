"""Side-by-side measurements of OpenXPU and its peers."""

import sys
from pathlib import Path

# A tree that was not built in place has no native part: then the installed openxpu must be found before it.
_ROOT = Path(__file__).resolve().parent.parent
if not any((_ROOT / "openxpu").glob("_runtime.*.so")):
    _there = [path for path in sys.path if Path(path or ".").resolve() == _ROOT]
    sys.path = [path for path in sys.path if path not in _there] + [str(_ROOT)]
