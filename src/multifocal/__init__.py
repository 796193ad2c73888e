"""Segment small, scattered brain lesions, and find out which loss does it best."""

from importlib.metadata import version

__version__ = version("multifocal")
