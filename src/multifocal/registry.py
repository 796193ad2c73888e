"""Things of one kind by name: the one door for losses, networks, metrics, layouts, systems and others.

A registry knows three sources, looked at when a name is first asked for: what was registered already, the modules of a
package of ours (so that a new thing is one new file), and the entry points of other people's packages.
"""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import Any, Generic, TypeVar

from multifocal.config import check_arguments
from multifocal.errors import unknown_name

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Things of one kind by name: a mapping that fills itself.

    Args:
        kind: what the things are, for messages: "network".
        package: dotted name of the package whose modules register things when they are imported; None where the module
            that makes the registry registers all of them.
        group: the entry points of other packages, "multifocal.networks". Each names a module that registers something
            when it is imported.
        callable_of: what of a thing has the options and the description: a function or a class. None is the thing.

    Example:
        >>> shapes = Registry("shape")
        >>> @shapes.register("cube")
        ... def cube(*, side: float = 1.0) -> float:
        ...     '''Volume of a cube.'''
        ...     return side**3
        >>> shapes.names(), shapes.describe("cube"), shapes["cube"](side=2.0)
        (('cube',), 'Volume of a cube.', 8.0)
        >>> shapes.get("cub")
        Traceback (most recent call last):
        multifocal.errors.UserError: unknown shape 'cub'; did you mean 'cube'? Choose from: cube
    """

    def __init__(
        self,
        kind: str,
        *,
        package: str | None = None,
        group: str | None = None,
        callable_of: Callable[[T], Callable[..., Any]] | None = None,
    ) -> None:
        self.kind, self.package, self.group = kind, package, group
        self._callable_of = callable_of or _itself
        self._things: dict[str, T] = {}
        self._is_filled = False

    def register(self, name: str, thing: T | None = None, /) -> Callable[[T], T]:
        """Make a thing known by name: at once where it is given, else by the decorator that is returned.

        A definition that is run again, as a cell of a notebook is, takes the place of what it defined before.

        Args:
            name: what users type.
            thing: what the name means; None returns a decorator.

        Returns:
            The decorator, which gives back what it decorates.

        Raises:
            ValueError: the name is taken by something else.

        Example:
            >>> shapes = Registry("shape")
            >>> _ = shapes.register("disk", lambda: "round")
            >>> shapes["disk"]()
            'round'
        """

        def add(made: T) -> T:
            if name in self._things:
                before, now = (_origin(self._callable_of(thing)) for thing in (self._things[name], made))
                is_run_again = before == now and "<" not in now  # as a cell of a notebook is
                if not is_run_again:
                    raise ValueError(f"{self.kind} name {name!r} is taken by {before}")
            self._things[name] = made
            return made

        if thing is not None:
            add(thing)
        return add

    def names(self) -> tuple[str, ...]:
        """Return all names.

        Returns:
            The names, in the order in which the things were registered; those of other people's packages come last.

        Example:
            >>> Registry("shape").names()
            ()
        """
        self._fill()
        return tuple(self._things)

    def get(self, name: str) -> T:  # type: ignore[override]  # a Mapping's has a default; here that would hide a typo
        """Return the thing of that name, as `registry[name]` does.

        Args:
            name: one of `names()`.

        Returns:
            What was registered.

        Raises:
            UserError: there is none; it names the nearest and lists all.

        Example:
            >>> shapes = Registry("shape")
            >>> _ = shapes.register("int", int)
            >>> shapes.get("int")
            <class 'int'>
        """
        return self[name]

    def describe(self, name: str) -> str:
        """Return the first line of a thing's description.

        Args:
            name: one of `names()`.

        Returns:
            One line of text.

        Raises:
            UserError: there is no such name.

        Example:
            >>> shapes = Registry("shape")
            >>> _ = shapes.register("int", int)
            >>> shapes.describe("int")
            'int([x]) -> integer'
        """
        return (inspect.getdoc(self._callable_of(self.get(name))) or "").partition("\n")[0]

    def options(self, name: str) -> dict[str, tuple[Any, Any]]:
        """Return the options of a thing.

        Args:
            name: one of `names()`.

        Returns:
            For each keyword argument its annotation and its default; `inspect.Parameter.empty` where it has none.

        Raises:
            UserError: there is no such name.

        Example:
            >>> def cube(*, side: float = 1.0) -> float:
            ...     return side**3
            >>> shapes = Registry("shape")
            >>> _ = shapes.register("cube", cube)
            >>> shapes.options("cube")
            {'side': (<class 'float'>, 1.0)}
        """
        parameters = inspect.signature(self._callable_of(self.get(name))).parameters.values()
        return {one.name: (one.annotation, one.default) for one in parameters if one.kind is not one.VAR_KEYWORD}

    def check_options(
        self, name: str, options: Mapping[str, Any], *, given: tuple[str, ...] = (), where: str | None = None
    ) -> None:
        """Raise `UserError` for an option that the thing does not have, or a value of another type; nothing is built.

        Args:
            name: of the thing.
            options: by name.
            given: arguments that come from elsewhere, and are no options.
            where: what the options are of, for the message; None says "options of KIND NAME".

        Raises:
            UserError: the name, an option or a value is none of the thing's.

        Example:
            >>> def cube(*, side: float = 1.0) -> float:
            ...     return side**3
            >>> shapes = Registry("shape")
            >>> _ = shapes.register("cube", cube)
            >>> shapes.check_options("cube", {"sid": 2.0})  # doctest: +ELLIPSIS
            Traceback (most recent call last):
            multifocal.errors.UserError: options of shape cube: unknown key 'sid'; did you mean 'side'? ...
        """
        check_arguments(
            self._callable_of(self.get(name)), options, where=where or f"options of {self.kind} {name}", given=given
        )

    def __getitem__(self, name: str) -> T:
        self._fill()
        if not isinstance(name, str) or name not in self._things:
            raise unknown_name(self.kind, str(name), self.names())
        return self._things[name]

    def __contains__(self, name: object) -> bool:
        self._fill()
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def _fill(self) -> None:
        """Import what registers things, once."""
        if self._is_filled:
            return
        self._is_filled = True  # at once: what is imported here may ask for names
        try:
            for module in _modules(self.package):
                import_module(module)
        except BaseException:
            self._is_filled = False  # Ctrl-C, or an extra that is missing: ask again next time
            raise
        for point in entry_points(group=self.group) if self.group else ():
            try:
                point.load()
            except Exception as error:  # noqa: BLE001  (whatever somebody's package raises must not end ours)
                warnings.warn(
                    f"{self.kind} of another package left out: entry point {point.name} = {point.value} cannot be "
                    f"imported: {type(error).__name__}: {error}",
                    stacklevel=2,
                )


def _modules(package: str | None) -> list[str]:
    if package is None:
        return []
    return [f"{package}.{module.name}" for module in iter_modules(import_module(package).__path__)]


def _itself(thing: Any) -> Any:
    return thing


def _origin(thing: Any) -> str:
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', repr(thing))}"
