"""What the values of a label image mean: one class or several, apart or overlapping, and what is to be ignored."""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from multifocal.config import Config, Name
from multifocal.instances.watershed import BORDER, INSIDE, border_classes

FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
LESION = "lesion"  # what the only class of a mask is called
OF_INSTANCES: dict[str, tuple[int, ...]] = {"inside": (INSIDE,), "border": (BORDER,)}
BACKGROUND, IGNORED = 0, 255  # codes
_MOST = 254  # values that have a code

Value = Annotated[int, Field(gt=0, lt=2**16)]


def _joined(values: Any) -> Any:
    if type(values) is int:
        return (values,)
    return tuple(values) if isinstance(values, list) else values


Values = Annotated[tuple[Value, ...], BeforeValidator(_joined), Field(min_length=1)]


class Labels(Config):
    """What the values of a label image mean.

    Inside, a label image is one of codes: 0 is background, 1, 2, ... are the named values in their order, and 255 is
    what is ignored.

    Args:
        classes: label values by class name, one or several that are joined; empty for a mask of 0 and 1, whose only
            class is called "lesion". The first value of a class is the one that predictions have.
        overlap: whether a value may belong to several classes, such as 4 to {whole: [1, 2, 4], core: [1, 4]}. Then
            each class has a probability of its own (sigmoid); otherwise the classes and the background share one
            (softmax).
        ignore: the value of voxels that nobody has judged: neither trained on nor scored. None where there are none.
        border: of labels that number instances, how many voxels from another value the border of an instance reaches
            (see `multifocal.instances.border_classes`): a class "border" beside "inside", by which instances that touch
            are told apart. None makes one class of all instances.

    Raises:
        ValueError: a value is in two classes that do not overlap, or is ignored and named; or there are more than 254.

    Example:
        >>> labels = Labels(classes={"core": (1, 4), "edema": (2,)}, ignore=255)
        >>> labels.named, labels.activation, labels.channels, labels.allowed
        ((1, 4, 2), 'softmax', 3, (0, 1, 2, 4, 255))
        >>> labels.encode(np.array([0, 1, 4, 2, 255])).tolist()
        [0, 1, 2, 3, 255]
        >>> labels.decode(np.array([0, 1, 2, 3])).tolist()
        [0, 1, 4, 2]
    """

    classes: dict[Name, Values] = {}
    overlap: bool = False
    ignore: Value | None = None
    border: Annotated[float, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _check(self) -> "Labels":
        if self.overlap and len(self.classes) < 2:
            raise ValueError("overlap is about several classes: name them in classes, or leave overlap out")
        if self.border is not None and (self.overlap or self.classes):
            raise ValueError("border makes the classes inside and border itself: leave classes and overlap out")
        owners: dict[int, str] = {}
        for name, values in self.values_of.items():
            if not FOLDER_NAME.fullmatch(name):
                raise ValueError(f"class {name!r}: a name is a folder's, too: letters, digits and . _ + - only")
            for value in values:
                if owners.setdefault(value, name) != name and not self.overlap:
                    raise ValueError(f"value {value} is in {owners[value]} and {name}: set overlap, or leave it in one")
        if self.ignore in owners and self.border is None:
            raise ValueError(f"ignore={self.ignore} is a class's value, too; leave it out of one of the two")
        if len(owners) > _MOST:
            raise ValueError(f"{len(owners)} values are named; expected {_MOST} at most")
        return self

    @property
    def values_of(self) -> dict[str, tuple[int, ...]]:
        """The values of each class by name, whether they are said or not."""
        return dict(OF_INSTANCES if self.border is not None else self.classes) or {LESION: (1,)}

    @property
    def names(self) -> tuple[str, ...]:
        """The classes' names."""
        return tuple(self.values_of)

    @property
    def is_mask(self) -> bool:
        """Whether nothing is named: lesion is what is not 0, nor ignored."""
        return not self.classes and self.border is None

    @property
    def several(self) -> bool:
        """Whether there is more than one class."""
        return len(self.values_of) > 1

    @cached_property
    def named(self) -> tuple[int, ...]:
        """The values of all classes, each once, in the order that they are named in: the value of code i + 1."""
        return tuple(dict.fromkeys(value for values in self.values_of.values() for value in values))

    @property
    def allowed(self) -> tuple[int, ...]:
        """Every value that a label image may hold, sorted."""
        return tuple(sorted({0, *self.named, *(() if self.ignore is None else (self.ignore,))}))

    @property
    def activation(self) -> Literal["sigmoid", "softmax"]:
        """What makes a network's logits probabilities."""
        return "softmax" if self.several and not self.overlap else "sigmoid"

    @property
    def channels(self) -> int:
        """How many logits a voxel has: one a class, and under softmax one for the background, which comes first."""
        return len(self.names) + (self.activation == "softmax")

    @cached_property
    def members(self) -> np.ndarray:
        """Which code belongs to which class: bool (codes, classes), 256 rows; none to the background or the ignored."""
        table = np.zeros((256, len(self.names)), bool)
        for column, values in enumerate(self.values_of.values()):
            table[[self.named.index(value) + 1 for value in values], column] = True
        return table

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Return the codes of a label image; without classes, every value but 0 and what is ignored has code 1.

        Args:
            values: whole numbers `(*spatial)`.

        Returns:
            uint8, of the same shape.

        Raises:
            ValueError: a value that nobody named.
        """
        if self.is_mask:
            codes = (values != 0).astype(np.uint8)
            if self.ignore is not None:
                codes[values == self.ignore] = IGNORED
            return codes
        codes, known = np.zeros(values.shape, np.uint8), values == 0
        for code, value in [
            *enumerate(self.named, start=1),
            *([] if self.ignore is None else [(IGNORED, self.ignore)]),
        ]:
            found = values == value
            codes[found] = code
            known |= found
        if not known.all():
            raise ValueError(f"label holds {values[~known][0]}; expected only {', '.join(map(str, self.allowed))}")
        return codes

    def encode_instances(self, values: np.ndarray) -> np.ndarray:
        """Return the codes of a label image that numbers instances.

        Args:
            values: whole numbers `(*spatial)`; any but 0, and what is ignored, is an instance.

        Returns:
            uint8, of the same shape.
        """
        if self.border is None:
            return self.encode(values)
        codes = border_classes(values, width=self.border)
        return codes if self.ignore is None else np.where(values == self.ignore, np.uint8(IGNORED), codes)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the label image of codes.

        Args:
            codes: whole numbers up to the number of named values `(*spatial)`.

        Returns:
            uint8, or uint16 where a value needs it, of the same shape.
        """
        values = (0, *self.named)
        return np.array(values, np.uint8 if max(values) < 256 else np.uint16)[codes]

    def most_likely(self, probabilities: Sequence[np.ndarray], *, threshold: float) -> np.ndarray:
        r"""Return for each voxel the code of the value that fits the classes' probabilities best, background left out.

        Where classes are apart it is the first value of the most probable class. Where they overlap, it is the value v
        with the largest Σ_k m_vk (logit p_k - logit t), where m_vk tells whether v belongs to class k: the one whose
        classes are those that reach the threshold, if there is one.

        Args:
            probabilities: of each class, `(*spatial)`.
            threshold: from which a voxel belongs to a class that may overlap others.

        Returns:
            uint8, of the same shape.

        Example:
            >>> nested = Labels(classes={"whole": (1, 2), "core": (2,)}, overlap=True)
            >>> whole, core = np.array([0.9, 0.8, 0.7]), np.array([0.1, 0.8, 0.49])
            >>> nested.most_likely([whole, core], threshold=0.5).tolist()
            [1, 2, 1]
        """
        if not self.overlap:
            first = np.array([self.named.index(values[0]) + 1 for values in self.values_of.values()], np.uint8)
            return first[np.argmax(probabilities, axis=0)]
        # Away from 0 and 1, whose logits are infinite, and no two of them alike.
        safe = np.clip(np.asarray(probabilities, np.float64), 1e-12, 1 - 1e-12)
        odds = np.log(safe / (1 - safe)) - np.log(threshold / (1 - threshold))
        # A probability that is the threshold reaches it, which a difference of 0 would not tell.
        odds = np.where(safe >= threshold, np.maximum(odds, 1e-9), np.minimum(odds, -1e-9))
        rows = self.members[1 : len(self.named) + 1]
        best, codes = np.full(odds.shape[1:], -np.inf), np.ones(odds.shape[1:], np.uint8)
        for code, row in enumerate(rows, start=1):
            fit = odds[row].sum(axis=0)
            better = fit > best
            codes[better], best = code, np.maximum(best, fit)
        return codes


def lesion_in(target: np.ndarray) -> np.ndarray:
    """Return where a target has a lesion, of whatever class.

    Args:
        target: uint8, the codes of `Labels`.

    Returns:
        Boolean, of the same shape.

    Example:
        >>> lesion_in(np.array([0, 1, 2, 255], np.uint8)).tolist()
        [False, True, True, False]
    """
    return (target != 0) & (target != IGNORED)
