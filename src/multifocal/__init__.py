"""Segment small, scattered brain lesions, and find out which loss does it best.

    >>> import multifocal as mf
    >>> model = mf.load_model("zadc-threshold")
    >>> loss = mf.losses.build("blob-gdf")

What is here is imported when it is first asked for: `import multifocal` alone loads neither torch nor anything heavy.
"""

from importlib.metadata import version

import lazy_loader

__version__ = version("multifocal")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
