"""Weights and states on disk: safetensors, which hold numbers and text and can run nothing."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from multifocal.errors import UserError
from multifocal.files import atomic

TREE, SHA256 = "tree", "sha256"


def write_weights(path: str | Path, state: dict[str, torch.Tensor], *, checksum: bool = False) -> None:
    """Write a network's state whole or not at all.

    Args:
        path: the file.
        state: tensors by name, on any device.
        checksum: also write a checksum, by which a damaged file is known when it is read.
    """
    tensors = {name: _copy(tensor) for name, tensor in state.items()}
    _save(path, tensors, {SHA256: _checksum(tensors, None)} if checksum else {})


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a network's state.

    Args:
        path: the file.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        UserError: no such file, it is not a safetensors file (a pickle, say, which is never opened), or is damaged.
    """
    return _open(path)[0]


def write_tree(path: str | Path, tree: Any) -> None:
    """Write nested dicts, lists and tuples: their tensors as tensors, plain values as JSON beside them; and a checksum.

    Args:
        path: the file.
        tree: what to write.

    Raises:
        TypeError: a value is neither tensor nor plain.
    """
    tensors: dict[str, torch.Tensor] = {}
    encoded = json.dumps(_encode(tree, tensors))
    _save(path, tensors, {TREE: encoded, SHA256: _checksum(tensors, encoded)})


def read_tree(path: str | Path) -> Any:
    """Read what `write_tree` wrote.

    Args:
        path: the file.

    Returns:
        The tree, with its tensors on the CPU.

    Raises:
        UserError: no such file, it is damaged, or holds something else.
    """
    tensors, metadata = _open(path)
    try:
        return _decode(json.loads(metadata[TREE]), tensors)
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: does not hold the state of a training run") from error


def _encode(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Return JSON for a value; every container is a tagged list, so that tuples and integer keys come back as such."""
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = _copy(value)
        return ["tensor", name]
    if isinstance(value, dict):
        return ["dict", [[_encode(k, tensors), _encode(v, tensors)] for k, v in value.items()]]
    if isinstance(value, list | tuple):
        return ["tuple" if isinstance(value, tuple) else "list", [_encode(v, tensors) for v in value]]
    if value is None or type(value) in (bool, int, float, str):
        return ["plain", value]
    raise TypeError(f"cannot store a {type(value).__name__} without pickling: {value!r}")


def _decode(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    kind, content = value
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {_decode(k, tensors): _decode(v, tensors) for k, v in content}
    if kind in ("list", "tuple"):
        items = [_decode(item, tensors) for item in content]
        return tuple(items) if kind == "tuple" else items
    return content


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    # Always a copy, because safetensors refuses tensors that share memory.
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _checksum(tensors: dict[str, torch.Tensor], tree: str | None) -> str:
    """Return the SHA-256 (hex) of tensors, by name, and of what stands beside them."""
    digest = hashlib.sha256((tree or "").encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _save(path: str | Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    with atomic(path) as temporary:
        temporary.write_bytes(save(tensors, metadata=metadata))


def _open(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: is not a whole safetensors file ({error}); copy it again, or train again "
            "(pickled checkpoints are never opened: they can run any code)"
        ) from error
    # Files of before there were checksums have none.
    if SHA256 in metadata and metadata[SHA256] != _checksum(tensors, metadata.get(TREE)):
        raise UserError(f"{path}: is damaged (its contents do not fit its checksum); copy it again, or train again")
    return tensors, metadata
