# Where the library is that carries messages between machines (UCX).
from __future__ import annotations

import functools
import importlib.util
import os


@functools.cache
def announce() -> None:
    """Tells the run time where the Python package `libucx` keeps its libraries, if it is installed. Without it the
    system's are taken, at the first group over several machines."""
    from openxpu import _runtime

    found = importlib.util.find_spec("libucx")
    for folder in (found.submodule_search_locations or ()) if found else ():
        _runtime.set_transport_folder(os.path.join(folder, "lib"))
