"""Jinja2, with everything escaped and nothing undefined let through."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

import multifocal
from multifocal.metrics import METRICS
from multifocal.reports import words
from multifocal.reports.charts.palette import arm_name


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("multifocal.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=words.number, printed=words.printed, seconds=words.seconds, unit=words.with_unit, better=words.better
    )
    environment.globals.update(METRICS=METRICS, arm_name=arm_name, span=words.span, version=multifocal.__version__)
    return environment


def render(template: str, **context: object) -> str:
    """Return a template of the package, filled in."""
    return _environment().get_template(template).render(**context)
