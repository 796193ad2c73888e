"""Every choice that changes a number, in one place."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypedDict, get_args

from multifocal.distance import Convention
from multifocal.errors import UserError, unknown_name
from multifocal.instances import Connectivity
from multifocal.metrics.validation import as_tolerance

Matching = Literal["overlap", "iou"]
MatchScore = Literal["dice", "iou"]
LabelMaps = Literal["neither", "target", "both"]
Protocol = Literal["bonbid-2023"]


class ScoringKwargs(TypedDict, total=False):
    """The fields of `ScoringOptions` as keywords, for functions that take them one by one.

    Example:
        >>> keywords: ScoringKwargs = {"matching": "iou", "threshold": 0.3}
        >>> ScoringOptions(**keywords).threshold
        0.3
    """

    tolerance: float
    convention: Convention
    connectivity: Connectivity
    min_size: float
    matching: Matching
    threshold: float
    strict: bool
    score: MatchScore | None
    label_maps: LabelMaps
    protocol: Protocol | None


@dataclass(frozen=True)
class ScoringOptions:
    """How a case is scored.

    Attributes:
        tolerance: distance in mm up to which surfaces agree for the NSD.
        convention: how surfaces are measured, "surfel" or "voxel"; see `multifocal.distance.surface`.
        connectivity: what one lesion is, "full" (voxels that share a corner) or "face".
        min_size: volume in ml; smaller lesions are left out of all lesion-level metrics, predicted and true ones.
        matching: when a predicted and a true lesion match. "overlap": they share a voxel, any number to any number
            (seed 004); "iou": their IoU is `threshold` or more, best first, one to one (panoptica).
        threshold: IoU of a match under "iou", above 0 and up to 1.
        strict: whether a match under "iou" needs an IoU above `threshold` (Kirillov et al. 2019) and not just of it
            (panoptica).
        score: what `sq` and `pq` average over matches, "dice" or "iou"; None takes that of the reference: Dice under
            "overlap" (seed 004, eq. 15), IoU under "iou" (panoptica).
        label_maps: which masks are label maps whose instances are given (0 is background, each other value one
            lesion), as for touching nuclei: "neither", "target" or "both".
        protocol: "bonbid-2023" measures as the BONBID-HIE challenge's evaluation does, which exchanges the two
            in-plane spacings (see `measured_spacing`).

    Raises:
        UserError: an option is not valid, or does not go with the protocol; it names option and value.

    Example:
        >>> ScoringOptions(matching="iou").quality, ScoringOptions().quality
        ('iou', 'dice')
    """

    tolerance: float = 2.0
    convention: Convention = "surfel"
    connectivity: Connectivity = "full"
    min_size: float = 0.0
    matching: Matching = "overlap"
    threshold: float = 0.5
    strict: bool = False
    score: MatchScore | None = None
    label_maps: LabelMaps = "neither"
    protocol: Protocol | None = None

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices and not (value is None and name in ("score", "protocol")):
                raise unknown_name(name.replace("_", " "), str(value), choices)
        as_tolerance(self.tolerance)
        if not (math.isfinite(self.min_size) and self.min_size >= 0):
            raise UserError(f"min_size is {self.min_size}; expected finite ml, 0 or more")
        if not 0 < self.threshold <= 1:
            raise UserError(f"threshold is {self.threshold}; expected an IoU above 0 and up to 1")
        self._check_strict()
        if self.protocol and (self.tolerance, self.convention) != (2.0, "surfel"):
            raise UserError(f"protocol {self.protocol} measures surfels within 2 mm; leave tolerance and convention")

    def _check_strict(self) -> None:
        if not isinstance(self.strict, bool):
            raise UserError(f"strict is {self.strict!r}; expected true or false")
        if self.strict and self.matching != "iou":
            raise UserError(f"strict is about the IoU of a match, and matching is {self.matching!r}; set it to 'iou'")
        if self.strict and self.threshold == 1:
            raise UserError("threshold is 1 and strict, so nothing would match; lower it, or leave strict out")

    @property
    def quality(self) -> MatchScore:
        """What `sq` and `pq` average."""
        return self.score or ("dice" if self.matching == "overlap" else "iou")

    @property
    def settings(self) -> dict[str, Any]:
        """The options as they are written down with results, units in the names."""
        told = {**asdict(self), "score": self.quality}
        return {{"tolerance": "tolerance_mm", "min_size": "min_size_ml"}.get(name, name): told[name] for name in told}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "ScoringOptions":
        """Return the options that were written down with results.

        Args:
            settings: what `settings` returned, perhaps with more that is not about scoring.

        Returns:
            The options.

        Raises:
            UserError: a value is not valid.

        Example:
            >>> ScoringOptions.from_settings({"min_size_ml": 0.1, "labels": None}).min_size
            0.1
        """
        names = {"tolerance_mm": "tolerance", "min_size_ml": "min_size"}
        known = {names.get(name, name): value for name, value in settings.items()}
        return cls(**{field.name: known[field.name] for field in fields(cls) if field.name in known})

    @property
    def has_label_maps(self) -> bool:
        """Whether the target's instances are given."""
        return self.label_maps != "neither"

    @property
    def predicts_label_maps(self) -> bool:
        """Whether the prediction's instances are given."""
        return self.label_maps == "both"

    def measured_spacing(self, spacing: tuple[float, ...]) -> tuple[float, ...]:
        """Return the spacing that surfaces are measured with: the true one, unless a protocol says otherwise.

        The challenge's evaluation passes the spacing of its `[z, y, x]` arrays as `[z, x, y]`. For arrays in the
        header's order (x, y, z) this exchanges the first two, which shows wherever they differ.

        Args:
            spacing: mm per voxel along each axis of the arrays.

        Returns:
            The spacing to measure with, in mm.

        Raises:
            UserError: the protocol knows no such images.

        Example:
            >>> ScoringOptions(protocol="bonbid-2023").measured_spacing((1.473, 1.5625, 4.0))
            (1.5625, 1.473, 4.0)
        """
        if self.protocol is None:
            return spacing
        if len(spacing) != 3:
            raise UserError(f"protocol {self.protocol} scores 3D scans; these are {len(spacing)}D")
        return (spacing[1], spacing[0], spacing[2])


_CHOICES = {
    "convention": get_args(Convention),
    "connectivity": get_args(Connectivity),
    "matching": get_args(Matching),
    "score": get_args(MatchScore),
    "label_maps": get_args(LabelMaps),
    "protocol": get_args(Protocol),
}
