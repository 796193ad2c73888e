"""A normative atlas of ADC, recovered or built, and the Z-ADC that it makes of a scan."""

from multifocal.normative.atlas import Atlas
from multifocal.normative.build import AtlasSettings, from_normals, from_pairs
from multifocal.normative.fit import AtlasFit
from multifocal.normative.zadc import ZSettings, z_map

__all__ = ["Atlas", "AtlasFit", "AtlasSettings", "ZSettings", "from_normals", "from_pairs", "z_map"]
