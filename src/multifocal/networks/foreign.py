"""A class of another package whose arguments are a network's options: imported when it is asked for, never to list."""

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import nn

from multifocal.versions import missing

# What MONAI and others raise for arguments that they cannot use.
_REFUSALS = (TypeError, ValueError, AssertionError, LookupError, AttributeError, RuntimeError, ArithmeticError)


@dataclass(frozen=True)
class Foreign:
    """A network's class in another package.

    Attributes:
        module: where it lies.
        name: what it is called there.
        settled: its arguments that are not the user's: they follow from others, or make no sense here.

    Example:
        >>> Foreign("torch.nn", "Conv3d", settled=("in_channels", "out_channels")).options()["stride"]
        1
    """

    module: str
    name: str
    settled: tuple[str, ...] = ()

    def load(self) -> type[nn.Module]:
        """Return the class.

        Returns:
            The class.

        Raises:
            ValueError: its package is not installed, or cannot be imported.
        """
        with warnings.catch_warnings():
            # What packages say of themselves when they are imported (image decoders, deprecations) is no use here.
            warnings.simplefilter("ignore")
            try:
                return getattr(import_module(self.module), self.name)
            except ModuleNotFoundError as error:
                raise ValueError(str(missing(error) or error)) from error
            except RuntimeError as error:
                raise ValueError(
                    f"the installed torchvision does not fit the installed torch ({_line(error)}); "
                    "install the matching pair from https://pytorch.org/get-started/locally"
                ) from error

    def options(self) -> dict[str, Any]:
        """Return the arguments that are the user's.

        Returns:
            Defaults by name; `inspect.Parameter.empty` where there is none.

        Raises:
            ValueError: as `load`.
        """
        parameters = inspect.signature(self.load()).parameters.values()
        return {
            one.name: one.default
            for one in parameters
            if one.name not in self.settled and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
        }

    def build(self, arguments: Mapping[str, Any]) -> nn.Module:
        """Return a network.

        Args:
            arguments: of the class, by name; lists become tuples.

        Returns:
            The network.

        Raises:
            ValueError: an argument is refused, or as `load`.
        """
        loaded = self.load()
        try:
            return loaded(**{key: _tuples(value) for key, value in arguments.items()})
        except _REFUSALS as error:
            raise ValueError(_line(error)) from error


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
