"""What there is to choose from: models, recipes, networks, losses."""

import ast
import inspect
import json
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

import multifocal
from multifocal.cli.options import Device
from multifocal.cli.screen import screen
from multifocal.errors import UserError


def models(
    name: Annotated[str | None, typer.Argument(help="Print the card of this model.")] = None,
) -> None:
    """List the trained models that come with the package, or print the card of one.

    Example: `multifocal models hie-synthetic`
    """
    from multifocal import models as floor

    if name is not None:
        typer.echo(floor.card(name), nl=False)
        return
    show("model", "what it is", ((each, floor.describe(each)) for each in floor.names()))


def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe as YAML, every default spelled out.")] = None,
) -> None:
    """List the recipes, or print one.

    Example: `multifocal recipes default > mine.yaml`
    """
    from multifocal import recipes as floor

    if name is not None:
        typer.echo(floor.dump(floor.load(name)), nl=False)
        return
    show("recipe", "what it is", ((each, floor.describe(each)) for each in floor.names()))


def networks(
    name: Annotated[
        str | None, typer.Argument(help="Show this network: its options, and where its weights are.")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="X,Y,Z", help="Measure the time of a training step with an image of this size."),
    ] = None,
    device: Device = "auto",
) -> None:
    """List the networks, or show one.

    Example: `multifocal networks unet3d --size 96,96,32`
    """
    if name is None:
        if size is not None:
            raise UserError("--size measures one network; name it before --size")
        listed = _listed("networks", group="multifocal.networks")
        axes = _dimensions("networks", group="multifocal.networks")
        table = Table("network", "dimensions", "definition", box=None, pad_edge=False)
        for each, text in listed.items():
            table.add_row(Text(each, "bold"), f"{axes[each]}D", text)
        screen().print(table)
        return
    from multifocal import networks as floor

    lengths = None if size is None else _size(size, name, floor.dimensions(name))

    _about(name, floor.describe(name), floor.options(name))
    network = floor.build(name, in_channels=1)
    parts = [
        (key, sum(weight.numel() for weight in part.parameters())) for key, part in network.network.named_children()
    ]
    total = sum(count for _, count in parts) or 1
    screen().print(f"\n{total:,} weights with one input channel and the options as above, by part:")
    _bars((key, f"{count:,}", count / total, "") for key, count in parts if count)
    if (outputs := floor.outputs(name, {})) > 1:
        screen().print(f"\n{outputs} outputs, for training.deep_supervision.")
    if lengths is not None:
        import torch

        from multifocal.device import choose_device
        from multifocal.networks.timing import LOSS, step_seconds

        chosen = choose_device(device)
        seconds = step_seconds(network, lengths, device=chosen)
        threads = torch.get_num_threads()
        on = f"{threads} thread{'s' * (threads > 1)}" if chosen.type == "cpu" else str(chosen)
        screen().print(
            f"\n{seconds:.3g} s a training step: one image of {'×'.join(map(str, lengths))}, {LOSS}, 32 bits, {on}; "
            "median of 3"
        )


def losses(
    name: Annotated[str | None, typer.Argument(help="Show this loss: its options, and what it weighs.")] = None,
) -> None:
    """List the losses with their definitions, or show one.

    Example: `multifocal losses blob-dice`
    """
    if name is None:
        listed = _listed("losses/named.py", group="multifocal.losses")
        _list("loss", listed, listed.__getitem__)
        return
    from multifocal import losses as floor
    from multifocal.losses.loss import TERMS
    from multifocal.losses.named import COMPOUND, LOSSES
    from multifocal.losses.regions import REGIONS

    if name == COMPOUND:
        screen().print(
            "A sum of terms of your own, each over the image or over regions of it; docs/losses.md shows how.\n"
        )
        _list("term", TERMS, TERMS.describe)
        screen().print()
        _list("over", REGIONS, REGIONS.describe)
        return
    _about(name, floor.describe(name), {key: default for key, (_, default) in LOSSES.options(name).items()})
    shares = floor.gradient_shares(floor.build(name))
    screen().print("\nHow it shares its gradient out over one slice (p = 0.7 where found, else 0.05), and what a pixel")
    screen().print("there weighs beside one of the large lesion:")
    pixels, whole = shares["large lesion"]
    beside = {part: share / count / (whole / pixels) if whole else 0.0 for part, (count, share) in shares.items()}
    _bars((part, f"{count} px", share, f"× {beside[part]:.2g}") for part, (count, share) in shares.items())


def _listed(where: str, *, group: str) -> dict[str, str]:
    """Return what a registry describes, read from the source: torch takes two seconds to import.

    Args:
        where: our module, or the folder of our modules, that register.
        group: the entry points of other packages; where there are any, the registry itself is asked.
    """
    if entry_points(group=group):
        floor = import_module(group)
        return {name: floor.describe(name) for name in floor.names()}
    return {name: description for name, description, _ in _registered(where)}


def _dimensions(where: str, *, group: str) -> dict[str, int]:
    """Return the dimensions of all networks, read as `_listed` does."""
    if entry_points(group=group):
        floor = import_module(group)
        return {name: floor.dimensions(name) for name in floor.names()}
    return {
        name: ast.literal_eval(keyword.value)
        for name, _, call in _registered(where)
        for keyword in call.keywords
        if keyword.arg == "dimensions"
    }


def _registered(where: str) -> Iterator[tuple[str, str, ast.Call]]:
    """Yield what is registered under a path of ours: its name, its description, the call that registers it.

    That is a decorator, or in a table a row such as `register("smp-fpn", dimensions=2)(decoder(FPN, "..."))`.
    """
    path = Path(multifocal.__file__).parent / where
    for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            match node:
                case ast.FunctionDef() | ast.ClassDef():
                    calls, description = node.decorator_list, (ast.get_docstring(node) or "").partition("\n")[0]
                case ast.Expr(value=ast.Call(func=call, args=[ast.Call(args=[_, ast.Constant(value=str(said))])])):
                    calls, description = [call], said
                case _:
                    continue
            for call in calls:
                match call:
                    case ast.Call(
                        func=ast.Name(id="register") | ast.Attribute(attr="register"),
                        args=[ast.Constant(value=str(name))],
                    ):
                        yield name, description, call


def _size(text: str, name: str, dimensions: int) -> tuple[int, ...]:
    """Return the numbers of a size such as 96,96,32."""
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts) or len(parts) != dimensions:
        example = ",".join(("96", "96", "32")[:dimensions])
        raise UserError(f"--size {text}: expected {dimensions} whole numbers for {name}, such as {example}")
    return tuple(map(int, parts))


def _about(name: str, description: str, options: dict[str, Any]) -> None:
    """Print what something is, and its options."""
    screen().print(Text(name, "bold"))
    screen().print(description)
    if options:
        show("option", "default", ((key, _default(default)) for key, default in options.items()))


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return "must be given"
    return str(list(value)) if isinstance(value, tuple) else json.dumps(value, default=str)


def _bars(rows: Iterable[tuple[str, str, float, str]]) -> None:
    """Print shares of a whole as bars, each with a word after it."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for column in ("left", "right", "right", "left", "left"):
        table.add_column(justify=column)  # type: ignore[arg-type]
    for name, size, share, note in rows:
        table.add_row(name, size, f"{share:.1%}", "█" * round(40 * share), note)
    screen().print(table)


def _list(kind: str, names: Iterable[str], describe: Callable[[str], str]) -> None:
    show(kind, "definition", ((name, describe(name)) for name in names))


def show(left: str, right: str, rows: Iterable[tuple[str, str]]) -> None:
    """Print a table of names and what they are."""
    table = Table(left, right, box=None, pad_edge=False)
    for name, text in rows:
        table.add_row(Text(name, "bold"), text)
    screen().print(table)
