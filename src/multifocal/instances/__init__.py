"""Lesions as instances: what a lesion is, decided once for losses, metrics and checks."""

from multifocal.instances.components import Connectivity, components

__all__ = ["Connectivity", "components"]
