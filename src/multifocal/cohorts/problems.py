"""Something wrong with a cohort, said so that the user can put it right."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """What is wrong, in which case; an "error" makes the cohort unusable, a "warning" is to be looked at.

    Example:
        >>> str(Problem("error", "adc.mha: file is empty", case="S1"))
        'case S1: adc.mha: file is empty'
    """

    severity: Severity
    text: str
    case: str | None = None

    def __str__(self) -> str:
        return f"case {self.case}: {self.text}" if self.case else self.text
