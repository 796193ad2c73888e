"""Synthetic neonates with brain injury, of one of two domains, in the layout of BONBID-HIE."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from multifocal.cohorts.layouts.bonbid import ADC, LABEL, ZADC
from multifocal.cohorts.phantom.cohort import PHANTOMS
from multifocal.cohorts.phantom.neat import PhantomCase, neat_case
from multifocal.cohorts.phantom.randomised import random_case
from multifocal.volumes import write

Domain = Literal["neat", "random"]

DOMAINS: Mapping[Domain, Callable[..., PhantomCase]] = {"neat": neat_case, "random": random_case}
"""What makes a case, by the name of the domain."""


@PHANTOMS.register("hie")
def write_case(folder: Path, *, seed: int, index: int, cases: int, domain: Domain = "neat") -> None:
    """Neonates with brain injury: ADC, Z-ADC and lesion label in the layout of BONBID-HIE.

    Args:
        folder: of the cohort.
        seed: what it is drawn with.
        index: which case, from 0.
        cases: how many there are.
        domain: "neat": scans that are alike, for trying things out; "random": scans that differ more than real ones
            do, for training networks.
    """
    case = phantom_case(seed=seed, index=index, cases=cases, domain=domain)
    write(folder / ADC / f"{case.name}-ADC_ss.mha", case.adc)
    write(folder / ZADC / f"Zmap_{case.name}-ADC_smooth2mm_clipped10.mha", case.zadc)
    write(folder / LABEL / f"{case.name}_lesion.mha", case.label)


def phantom_case(*, seed: int, index: int, cases: int, domain: Domain = "neat") -> PhantomCase:
    """Return case `index` (from 0) of the synthetic cohort of so many `cases`: the same arguments, the same case.

    Args:
        seed: of the cohort.
        index: which case, from 0.
        cases: how many the cohort has.
        domain: "neat" or "random".

    Returns:
        Images and label.

    Raises:
        UserError: `cases` below 1, `seed` negative, or `index` outside the cohort.

    Example:
        >>> case = phantom_case(seed=0, index=0, cases=3)
        >>> case.name, case.adc.geometry == case.label.geometry
        ('PHANTOM_001-VISIT_01', True)
    """
    return DOMAINS[domain](seed=seed, index=index, cases=cases)
