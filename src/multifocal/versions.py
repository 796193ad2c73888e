"""What a result was computed with, and the extra packages that some work needs."""

import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from multifocal.errors import UserError

EXTRAS = {
    "lightning": "train",
    "monai": "train",
    "tensorboard": "train",
    "segmentation_models_pytorch": "smp",
    "timm": "smp",
    "nnunetv2": "nnunet",
    "dynamic_network_architectures": "nnunet-architectures",
    "ray": "ray",
    "jinja2": "reports",
    "matplotlib": "reports",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "skimage": "instances",
    "sklearn": "forest",
    "transformers": "sam2",
    "pydicom": "scan",
    "highdicom": "scan",
    "nibabel": "scan",
}
TRAINING = ("lightning", "tensorboard")  # what no training does without
PACKAGES = (
    "multifocal",
    "torch",
    "lightning",
    "monai",
    "numpy",
    "scipy",
    "numba",
    "SimpleITK",
    "pillow",
    "connected-components-3d",
    "segmentation-models-pytorch",
    "timm",
    "scikit-image",
    "scikit-learn",
    "dynamic-network-architectures",
    "transformers",
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


def missing(error: ModuleNotFoundError) -> UserError | None:
    """Return the error for a module of an extra that is not installed; None for any other module.

    Args:
        error: that was raised by an import.

    Returns:
        The error, to be raised.

    Example:
        >>> str(missing(ModuleNotFoundError(name="ray.util")))
        "this needs ray.util: pip install 'multifocal[ray]'"
    """
    extra = EXTRAS.get((error.name or "").partition(".")[0])
    return UserError(f"this needs {error.name}: pip install 'multifocal[{extra}]'") if extra else None


def check_installed(module: str, *, what: str) -> None:
    """Raise `UserError` where a package is not installed; it is not imported.

    Args:
        module: its name.
        what: what needs it, for the message.

    Raises:
        UserError: it is missing.

    Example:
        >>> check_installed("multifocal_none", what="a test")
        Traceback (most recent call last):
        multifocal.errors.UserError: a test needs multifocal_none: pip install multifocal_none
    """
    if find_spec(module) is None:
        extra = EXTRAS.get(module)
        package = f"'multifocal[{extra}]'" if extra else module
        raise UserError(f"{what} needs {module}: pip install {package}")
