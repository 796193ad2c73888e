"""Names that have moved: still found where they were, with a warning that names the new place."""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def moved(module: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module from which names have moved away.

    The new place is imported when a name is asked for, so that a floor may name one above it.

    Args:
        module: dotted name of the module that had them.
        places: by old name where each is now, "package.module.name"; with "()" at the end it is called, for a constant
            that became a function.

    Returns:
        A function of a name, which warns and returns what stands at the new place.

    Example:
        >>> import warnings
        >>> find = moved("old", {"root": "math.sqrt", "here": "os.getcwd()"})
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     find("root")(9.0)
        3.0
        >>> str(caught[0].message)
        'old.root is now math.sqrt'
    """

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        place = places[name]
        warnings.warn(f"{module}.{name} is now {place}", DeprecationWarning, stacklevel=2)
        owner, _, new = place.removesuffix("()").rpartition(".")
        thing = getattr(import_module(owner), new)
        return thing() if place.endswith("()") else thing

    return find
