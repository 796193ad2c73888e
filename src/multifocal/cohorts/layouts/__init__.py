"""How cohorts are laid out in folders, by name. A new layout is a new file here that registers its reader."""

from multifocal.cohorts.layouts.layout_result import LayoutResult, Problem
from multifocal.cohorts.layouts.registry import LAYOUTS, Layout, layout_names, register

__all__ = ["LAYOUTS", "Layout", "LayoutResult", "Problem", "layout_names", "register"]
