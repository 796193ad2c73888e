"""Models that come with the package, trained on synthetic scans alone: run folders ready to predict, each with a card.

Each is a folder here that `multifocal train` could have written, without what only training needs.
`tools/build_weights.py` makes them; `card.md` says what a model has seen, what it scores, and what it is not for.
"""

from pathlib import Path, PurePath

from multifocal.errors import unknown_name

CARD = "card.md"
_HOME = Path(__file__).parent
_FENCE = "---\n"
_OF_A_RUN = ("recipe.yaml", "weights.safetensors")


def names() -> tuple[str, ...]:
    """Return the names of the models inside the package.

    Returns:
        The names, sorted.

    Example:
        >>> "hie-synthetic" in names()
        True
    """
    return tuple(sorted(card.parent.name for card in _HOME.glob(f"*/{CARD}")))


def model_folder(name: str) -> Path:
    """Return the run folder of a model.

    Args:
        name: one of `names()`.

    Returns:
        The folder, which is only to be read.

    Raises:
        UserError: there is no such model.

    Example:
        >>> (model_folder("hie-synthetic") / "recipe.yaml").is_file()
        True
    """
    if name not in names():
        raise unknown_name("model", name, names())
    return _HOME / name


def run_folder(run: str | Path) -> Path:
    """Return the folder of a run: of the user's own, or of a model where a path begins with its name.

    Args:
        run: a path. What is there on the disk goes before a model of that name.

    Returns:
        The path itself, or that of the model, or of a part of it.

    Example:
        >>> run_folder("runs/0").as_posix()
        'runs/0'
        >>> run_folder("hie-synthetic/members/0") == model_folder("hie-synthetic") / "members/0"
        True
    """
    return _HOME / run if is_model(run) else Path(run)


def is_model(run: str | Path) -> bool:
    """Return whether a path is the name of a model, or begins with it, and no run or file of that name is on the disk.

    Args:
        run: the path.

    Returns:
        Whether it is.

    Example:
        >>> is_model("hie-synthetic"), is_model("runs/hie-synthetic")
        (True, False)
    """
    path, parts = Path(run), PurePath(run).parts
    if not parts or parts[0] not in names() or ".." in parts:
        return False
    return not path.is_file() and not any((path / name).is_file() for name in _OF_A_RUN)


def describe(name: str) -> str:
    """Return what a model is, in one line: the first of its card.

    Args:
        name: one of `names()`.

    Returns:
        One line of text.

    Raises:
        UserError: there is no such model.

    Example:
        >>> "synthetic" in describe("hie-synthetic")
        True
    """
    _, _, text = card(name).rpartition(_FENCE)
    return next(line for line in text.splitlines() if line and not line.startswith("#"))


def card(name: str) -> str:
    """Return the card of a model: facts as YAML between two lines of `---`, then what to know before using it.

    Args:
        name: one of `names()`.

    Returns:
        Markdown.

    Raises:
        UserError: there is no such model.

    Example:
        >>> card("hie-synthetic").splitlines()[1]
        'license: Apache-2.0'
    """
    return (model_folder(name) / CARD).read_text(encoding="utf-8")
