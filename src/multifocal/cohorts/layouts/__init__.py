"""How cohorts are laid out in folders, by name. Importing the package registers every layout."""

from multifocal.cohorts.layouts import bonbid, images2d, manifest, nnunet
from multifocal.cohorts.layouts.findings import Findings
from multifocal.cohorts.layouts.registry import Layout, every, get, layout_names, register

__all__ = ["Findings", "Layout", "bonbid", "every", "get", "images2d", "layout_names", "manifest", "nnunet", "register"]
