"""Predict a cohort, case by case, onto disk."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, overload

from multifocal.cohorts import Case, Cohort
from multifocal.cohorts.seen import mark_seen
from multifocal.cohorts.single_scan import doubts, open_scans
from multifocal.errors import UserError
from multifocal.files import clear_up
from multifocal.systems.flags import check_age
from multifocal.systems.loading import load_model
from multifocal.systems.system import PARTS, Prediction, System
from multifocal.systems.uncertainty import MAPS, add_rows, check_masks
from multifocal.systems.uncertainty import uncertainty as measure
from multifocal.volumes import EXTENSIONS, extension_of, strip_extension, write


@overload
def predict(model: System | str | Path, cohort: Cohort, out: str | Path, **options: Any) -> list[Path]: ...


@overload
def predict(model: System | str | Path, **maps: str | Path) -> Prediction: ...


def predict(model: System | str | Path, *cohort_and_out: Any, **named: Any) -> Prediction | list[Path]:
    """Predict one scan in memory, or a cohort onto disk.

    Args:
        model: what predicts; or the run folder, or the recipe, that `load_model` makes it of.
        *cohort_and_out: the cases and the folder of their masks, see `predict_cohort`; leave both out for one scan.
        **named: of one scan the file of each map by its name; of a cohort further arguments of `predict_cohort`.

    Returns:
        Of one scan its `Prediction`, on its own grid; of a cohort the files of its masks.

    Raises:
        UserError: whatever `load_model` and `predict_cohort` raise; a map is missing, or one is given that the model
            does not read; a scan is in another unit, or its brain far larger than those of training; there is neither
            a scan nor a cohort with a folder.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from multifocal.cohorts import open_cohort
        >>> from multifocal.cohorts.phantom import write_phantom
        >>> with TemporaryDirectory() as folder:
        ...     _ = write_phantom(folder, cases=1, seed=0)
        ...     case = open_cohort(folder).cases[0]
        ...     found = predict("zadc-clean", adc=case.images["adc"].path, zadc=case.images["zadc"].path)
        >>> found.mask.array.dtype
        dtype('uint8')
    """
    if cohort_and_out or "cohort" in named:
        return predict_cohort(model, *cohort_and_out, **named)
    if not named:
        raise UserError("predict takes a cohort and a folder for its masks, or the file of each map of one scan")
    system = load_model(model) if isinstance(model, str | Path) else model
    sources = [f"{name}={file}" for name, file in named.items()]
    case = open_scans(sources, maps=system.maps).cases[0]
    images = case.images
    volumes = {map_: image.read() for map_, image in images.items()}
    for doubt in doubts(volumes, where={map_: image.path for map_, image in images.items()}):
        warnings.warn(doubt, stacklevel=2)
    first = next(iter(volumes))
    check_age(volumes[first], system.ranges, where=images[first].path)
    return system.predict(case)


def predict_cohort(
    model: System | str | Path,
    cohort: Cohort,
    out: str | Path,
    *,
    probabilities: bool = False,
    parts: bool = False,
    uncertainty: bool = False,
    overwrite: bool = False,
    progress: Callable[[Case], None] | None = None,
    record: Callable[[Case, Prediction, Path], None] | None = None,
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
        parts: also write what each part of a system of several finds by itself (the members of an ensemble; the first
            stage of a cascade, and what it judges; the boxes and candidates of a promptable one), as another such
            folder: `parts/<part>`, named as `System.parts` has them.
        uncertainty: also write how sure the model is, see `multifocal.systems.uncertainty_of`: the maps
            `<case>_entropy.<ext>` and `<case>_mutual_information.<ext>`, where there are any, and a line a case in
            `uncertainty.csv` and a line a lesion in `uncertainty_lesions.csv`, where lines of other cases stay. With
            `parts` the mirrored forms of a network's image are parts, too.
        overwrite: replace files that exist.
        progress: called after every case.
        record: called with every case, what was predicted, and the file of its mask once that is written.

    Returns:
        The files of the masks, in the cohort's order.

    Raises:
        UserError: there is no such run, a file exists already (or is one of the cohort's), a case cannot be read or
            prepared, a file cannot be written, or the model has no probabilities, or no parts, or predicts label maps,
            of which there is no uncertainty.

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
    members = model.member_names if uncertainty else ()
    own_parts = {**dict.fromkeys(members, model.seen), **model.parts} if parts else {}
    if parts and not own_parts:
        raise UserError(f"recipe {model.recipe.name} is a system of one part; leave out --parts")
    if uncertainty:
        check_masks(model)
    seen = {"": model.seen} | own_parts
    homes = {name: out / PARTS / name if name else out for name in seen}
    masks = {
        (home, case.name): home / f"{case.name}_lesion{_extension(case)}" for home in homes.values() for case in cohort
    }
    labels = model.labels
    classes = ("", *(f"-{name}" for name in labels.names if labels.several)) if probabilities else ()
    maps = {
        (home, case.name, name): home / f"{case.name}_probability{name}{_probability_extension(case)}"
        for home in homes.values()
        for case in cohort
        for name in classes
    }
    unsure = {
        (case.name, name): out / f"{case.name}_{name}{_probability_extension(case)}"
        for case in cohort
        for name in (MAPS if uncertainty else ())
    }
    targets = [*masks.values(), *maps.values(), *unsure.values()]
    _check_free(out, targets, cohort, overwrite=overwrite)
    clear_up(*homes.values())
    for case in cohort:
        prediction = model.predict(case)
        found_parts = dict(prediction.parts)
        if uncertainty:
            found_parts |= model.members_of(case, prediction)
            sure = measure(prediction, {name: found_parts[name] for name in members})
            for name in MAPS:
                if (map_ := getattr(sure, name)) is not None:
                    write(unsure[case.name, name], map_)
                else:
                    unsure[case.name, name].unlink(missing_ok=True)  # of another model, with --overwrite
            add_rows(out, case.name, sure)
        for part, home in homes.items():
            own = found_parts[part] if part else prediction
            for name in classes:
                found = own.classes[name[1:]] if name else own.probability
                if found is not None:
                    write(maps[home, case.name, name], found)
            write(masks[home, case.name], own.mask)
            mark_seen(home, case.name, seen[part].part(case, cohort=cohort.name))
        for path in (path for path in targets if path.exists()):
            for twin in _twins(path):  # with --overwrite, those of the same scan in another format
                twin.unlink()
        if record:
            record(case, prediction, masks[out, case.name])
        if progress:
            progress(case)
    return [masks[out, case.name] for case in cohort]


def _check_free(out: Path, targets: list[Path], cohort: Cohort, *, overwrite: bool) -> None:
    own = {file.path.resolve() for case in cohort for file in (*case.images.values(), case.label) if file}
    taken = {path: [each for each in (path, *_twins(path)) if each.exists()] for path in targets}
    if lost := [each for held in taken.values() for each in held if each.resolve() in own]:
        raise UserError(f"{lost[0]}: is a file of the cohort itself; choose another folder for the predictions")
    existing = [held[0] for held in taken.values() if held]
    if existing and not overwrite:
        raise UserError(
            f"{out}: already holds {len(existing)} of the {len(targets)} files ({existing[0].name}, …); "
            "choose another folder, or --overwrite to replace them"
        )


def _twins(path: Path) -> list[Path]:
    """Return what lies beside a file under its name as an image of another format."""
    stem = strip_extension(path.name)
    others = [path.with_name(f"{stem}{extension}") for extension in EXTENSIONS]
    return [other for other in others if other != path and other.exists()]


def _extension(case: Case) -> str:
    extension = extension_of(next(iter(case.images.values())).path.name)
    # A header with its voxels in a second file would be two files a mask: one is enough.
    return ".mha" if extension == ".mhd" else extension


def _probability_extension(case: Case) -> str:
    extension = _extension(case)
    return ".nrrd" if extension == ".png" else extension  # PNG holds no fractions
