"""A study as pages that open in a browser."""

from multifocal.reports.report import write_report

__all__ = ["write_report"]
