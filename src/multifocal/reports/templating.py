"""Jinja2, with everything escaped and nothing undefined let through."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

import multifocal
from multifocal.metrics import METRICS
from multifocal.reports import formatting
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
        number=formatting.number,
        printed=formatting.printed,
        seconds=formatting.seconds,
        unit=formatting.with_unit,
        better=formatting.better,
    )
    environment.globals.update(METRICS=METRICS, arm_name=arm_name, span=formatting.span, version=multifocal.__version__)
    return environment


def render(template: str, **context: object) -> str:
    """Return a template of the package, filled in."""
    return _environment().get_template(template).render(**context)
