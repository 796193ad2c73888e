"""What a result was computed with."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "multifocal",
    "torch",
    "lightning",
    "monai",
    "numpy",
    "scipy",
    "numba",
    "SimpleITK",
    "connected-components-3d",
    "segmentation-models-pytorch",
    "timm",
)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a run's numbers.

    Returns:
        Versions by name; a package that is not installed is left out.
    """
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # an extra that is not installed
    return found
