"""Predict a cohort, case by case, onto disk."""

from collections.abc import Callable
from pathlib import Path

from multifocal.cohorts import Case, Cohort
from multifocal.cohorts.seen import mark_seen
from multifocal.errors import UserError
from multifocal.files import clear_up
from multifocal.systems.loading import load_model
from multifocal.systems.system import MEMBERS, System
from multifocal.volumes import extension_of, write


def predict_cohort(
    model: System | str | Path,
    cohort: Cohort,
    out: str | Path,
    *,
    probabilities: bool = False,
    members: bool = False,
    overwrite: bool = False,
    progress: Callable[[Case], None] | None = None,
) -> list[Path]:
    """Write `<case>_lesion.<ext>` (and `<case>_probability.<ext>`) for every case, in the format of its first image.

    Of several classes the first holds their values, the second the probability of any, and
    `<case>_probability-<class>.<ext>` that of each.

    Cases that the model was trained or validated on are marked in `seen.json`, for whoever scores the masks.

    Args:
        model: what predicts; or the run folder, or the recipe, that `load_model` makes it of.
        cohort: the cases; labels are not looked at.
        out: the folder; files of other cases in it stay.
        probabilities: also write probabilities.
        members: also write what each member of an ensemble finds, into `members/0`, `members/1`, … of the folder.
        overwrite: replace files that exist.
        progress: called after every case.

    Returns:
        The files of the masks, in the cohort's order.

    Raises:
        UserError: there is no such run, a file exists already (or is one of the cohort's), a case cannot be read or
            prepared, a file cannot be written, or the model has no probabilities, or no members.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from multifocal.cohorts import open_cohort
        >>> from multifocal.cohorts.phantom import write_phantom
        >>> from multifocal.systems import load_model
        >>> with TemporaryDirectory() as folder:  # doctest: +SKIP
        ...     _ = write_phantom(f"{folder}/cohort", cases=2, seed=0)
        ...     files = predict_cohort(load_model("zadc-threshold"), open_cohort(f"{folder}/cohort"), f"{folder}/out")
        ...     len(files)
        2
    """
    out, model = Path(out), load_model(model) if isinstance(model, str | Path) else model
    if probabilities and not model.has_probabilities:
        raise UserError(f"recipe {model.recipe.name} has no probabilities; leave out --probabilities")
    if members and not model.members:
        raise UserError(f"recipe {model.recipe.name} has no members; leave out --members")
    parts = {number: member for number, member in enumerate(model.members) if members}
    homes = {out: model} | {out / MEMBERS / str(number): member for number, member in parts.items()}
    masks = {(home, case.name): home / f"{case.name}_lesion{_extension(case)}" for home in homes for case in cohort}
    labels = model.labels
    classes = ("", *(f"-{name}" for name in labels.names if labels.several)) if probabilities else ()
    maps = {
        (home, case.name, name): home / f"{case.name}_probability{name}{_probability_extension(case)}"
        for home in homes
        for case in cohort
        for name in classes
    }
    targets = [*masks.values(), *maps.values()]
    _check_free(out, targets, cohort, overwrite=overwrite)
    clear_up(*homes)
    for case in cohort:
        prediction = model.predict(case)
        for (home, system), part in zip(homes.items(), (prediction, *prediction.members), strict=False):
            for name in classes:
                found = part.classes[name[1:]] if name else part.probability
                if found is not None:
                    write(maps[home, case.name, name], found)
            write(masks[home, case.name], part.mask)
            mark_seen(home, case.name, system.seen.part(case, cohort=cohort.name))
        if progress:
            progress(case)
    return [masks[out, case.name] for case in cohort]


def _check_free(out: Path, targets: list[Path], cohort: Cohort, *, overwrite: bool) -> None:
    own = {file.path.resolve() for case in cohort for file in (*case.images.values(), case.label) if file}
    if lost := [path for path in targets if path.resolve() in own]:
        raise UserError(f"{lost[0]}: is a file of the cohort itself; choose another folder for the predictions")
    existing = [path for path in targets if path.exists()]
    if existing and not overwrite:
        raise UserError(
            f"{out}: already holds {len(existing)} of the {len(targets)} files ({existing[0].name}, …); "
            "choose another folder, or --overwrite to replace them"
        )


def _extension(case: Case) -> str:
    extension = extension_of(next(iter(case.images.values())).path.name)
    # A header with its voxels in a second file would be two files a mask: one is enough.
    return ".mha" if extension == ".mhd" else extension


def _probability_extension(case: Case) -> str:
    extension = _extension(case)
    return ".nrrd" if extension == ".png" else extension  # PNG holds no fractions
