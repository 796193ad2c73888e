"""Arguments are checked against their annotations, wherever an object is made: in Python or from a recipe."""

from dataclasses import fields
from functools import cache
from typing import Annotated, Any, get_type_hints

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from multifocal.errors import UserError

NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Checked:
    """Base of frozen dataclasses whose fields must be what their annotations say: type, choices, range; finite.

    Raises:
        UserError: a `ValueError` with the argument, its value and what was expected.

    Example:
        >>> from multifocal.losses import Dice
        >>> Dice(smooth=-1.0)
        Traceback (most recent call last):
        multifocal.errors.UserError: Dice: smooth=-1.0; expected a number greater than 0
    """

    def __post_init__(self) -> None:
        try:
            given = {
                name: value.item() if isinstance(value, np.generic) else value for name, value in vars(self).items()
            }
            _model(type(self)).model_validate(given)  # type: ignore[arg-type]
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            where = problem["loc"][0]
            raise UserError(
                f"{type(self).__name__}: {where}={getattr(self, str(where))!r}; expected {_expected(problem['msg'])}"
            ) from None


@cache
def _model(kind: Any) -> type[BaseModel]:
    """Return the rules of a dataclass as pydantic has them."""
    hints = get_type_hints(kind, include_extras=True)
    rules = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
    annotated: Any = {field.name: (hints[field.name], ...) for field in fields(kind)}
    return create_model("Arguments", __config__=rules, **annotated)


def _expected(message: str) -> str:
    expected = message.removeprefix("Value error, ").removeprefix("Input should be ").removeprefix("a valid ")
    article = {"number": "a ", "integer": "an ", "boolean": "a ", "tuple": "a ", "string": "a "}.get(expected, "")
    return ("a number " if expected.startswith(("greater", "less")) else article) + expected
