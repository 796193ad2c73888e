"""What a training can be told to compute on."""

from multifocal.errors import UserError

DEVICES = ("auto", "cpu", "cuda")


def check_device(device: str) -> None:
    """Raise `UserError` unless it is `auto`, `cpu` or `cuda`."""
    if device not in DEVICES:
        raise UserError(f"device '{device}': choose from {', '.join(DEVICES)}")
