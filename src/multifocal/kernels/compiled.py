"""How loops are compiled: once per machine, to be shared by threads."""

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function when it is first called, without the interpreter's lock, and keep the outcome on disk.

    Where neither the package's folder nor the user's cache can be written to, each process compiles anew.
    """
    try:
        return numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # numba finds no folder for its cache
        return numba.njit(nogil=True, error_model="numpy")(function)
