"""Euclidean distances and surfaces of masks."""

from multifocal.distance.fields import border_fields
from multifocal.distance.nearest import distance_to
from multifocal.distance.surfaces import Convention, Surface, surface, surfel_areas

__all__ = ["Convention", "Surface", "border_fields", "distance_to", "surface", "surfel_areas"]
