"""Whether a system that says how sure it is can be believed: of cases, lesions, voxels, and of what it misses."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from scipy import special

from multifocal.cohorts import Case, Cohort
from multifocal.cohorts.lesion_burden import brain_mask, counted
from multifocal.errors import UserError
from multifocal.evaluation.match_files import match_files
from multifocal.evaluation.results import UNCERTAINTY
from multifocal.files import swapped, write_csv, write_json
from multifocal.instances import components
from multifocal.metrics.overlap import overlap
from multifocal.metrics.selective import risk_control, risk_coverage
from multifocal.systems.calibration import (
    LIMIT,
    OddsCounts,
    calibrate,
    diagram,
    of_sums,
    reliability_sums,
    summed,
)
from multifocal.systems.combination import PROBABILITY
from multifocal.systems.system import PARTS, Prediction
from multifocal.systems.uncertainty import uncertainty
from multifocal.volumes import Volume, read, volumes_named

AT_MOST = (0.1, 0.2)
_MEMBER = re.compile(r"[0-9]+-.+")
_CASE_SCORES = {
    "expected_dice": "1 - expected Dice of the probability",
    "agreement": "1 - mean Dice of the members",
    "volume_range": "members' range of volume over their mean",
    "small": "how little is marked (trivial)",
}
_LESION_SCORES = {
    "lsu": "LSU",
    "probability": "1 - mean probability",
    "entropy": "mean entropy",
    "small": "how small it is (trivial)",
}


@dataclass(frozen=True)
class UncertaintyScores:
    """What a cohort says of a system's uncertainty.

    Attributes:
        summary: what `uncertainty.json` says, see `evaluate_uncertainty`.
        cases: a mapping a case: `case`, `dice`, `true_ml`, and what is known of `Uncertainty`.
        lesions: a mapping a lesion of the masks: `case`, `number`, whether it is `true` (1: it has a voxel of a true
            lesion), and what `LesionUncertainty` says.

    Example:
        >>> UncertaintyScores({"cases": 0}, [], []).summary["cases"]
        0
    """

    summary: dict[str, Any]
    cases: list[dict[str, Any]] = field(default_factory=list)
    lesions: list[dict[str, Any]] = field(default_factory=list)


def evaluate_uncertainty(
    predictions: "str | Path | PredictionFiles",
    cohort: Cohort,
    *,
    others: Collection[str] = (),
    at_most: Sequence[float] = AT_MOST,
    samples: int = 1000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> UncertaintyScores:
    """Judge how sure a system is by the labels of cases that it has not seen.

    A folder of masks holds `<case>_probability.<ext>` beside them (`predict --probabilities`), the members' masks and
    probabilities in `parts/0-…`, `parts/1-…` (`--parts`; of a network `--parts --uncertainty`), or both. Of several
    classes, any lesion counts.

    * Cases: area under risk and coverage (AURC), and under generalized risk (AUGRC), where the risk is 1 - Dice.
    * Lesions of the masks: the area under PPV and retention, which is 1 - AURC where the risk is to be false.
    * Of both the gain over chance, sample by sample: the mean risk less the AURC.
    * Voxels in the brain: ECE, Brier score and likelihood of the probability, as it is and divided by the temperature
      that all other subjects' cases ask for.
    * What is missed: the threshold of the members' mean probability (of the final one without members) that bounds the
      expected share of a lesion's volume that is missed, chosen by all other subjects' cases with lesions.

    Intervals are those of 95 % of bootstrap samples of the subjects. What is left out needs members, or probabilities.

    Args:
        predictions: the folder; or the files themselves, where they lie in several.
        cohort: labelled cases of binary masks or classes.
        others: cases whose predictions may be in the folder, too, and are passed over.
        at_most: shares of the lesion, above 0 and below 1, for which missed volume is bounded.
        samples: of the bootstrap.
        seed: of the bootstrap.
        progress: called with (cases done, cases in all) after each case.

    Returns:
        The summary, and a line a case and lesion.

    Raises:
        UserError: the files do not fit the cohort, there are neither probabilities nor members, or labels are of
            instances.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from multifocal.cohorts import open_cohort
        >>> from multifocal.cohorts.phantom import write_phantom
        >>> from multifocal.systems import predict_cohort
        >>> with TemporaryDirectory() as folder:  # doctest: +SKIP
        ...     write_phantom(f"{folder}/cohort", cases=4, seed=0)
        ...     cohort = open_cohort(f"{folder}/cohort")
        ...     _ = predict_cohort("runs/default", cohort, f"{folder}/masks", probabilities=True, parts=True)
        ...     evaluate_uncertainty(f"{folder}/masks", cohort).summary["case"]["agreement"]["aurc"]["value"]
        0.31
    """
    if cohort.label_kind == "instances":
        raise UserError(f"cohort {cohort.name} has instance labels, and uncertainty is of masks; leave it out")
    files = (
        predictions
        if isinstance(predictions, PredictionFiles)
        else PredictionFiles.of_folder(predictions, cohort, others=others)
    )
    judged = []
    for done, case in enumerate(cohort, start=1):
        judged.append(_judge(case, files, cohort))
        if progress:
            progress(done, len(cohort))
    draws = subject_draws([one.subject for one in judged], samples=samples, seed=seed)
    summary: dict[str, Any] = {
        "cases": len(judged),
        "subjects": len({one.subject for one in judged}),
        "members": list(files.members),
        "samples": samples,
        "seed": seed,
        "case": _of_cases(judged, draws),
        "lesion": _of_lesions(judged, draws),
    }
    if files.members:
        within = np.array([row["lowest_ml"] <= row["true_ml"] <= row["highest_ml"] for row in (j.row for j in judged)])
        summary["volume_range_holds_truth"] = _value(within.astype(float), np.mean, draws)
    if files.probabilities:
        summary["voxel"] = _of_voxels(judged, draws)
    summary["missed"] = _of_missed(judged, at_most, draws)
    return UncertaintyScores(summary, [one.row for one in judged], [row for one in judged for row in one.lesions])


def subject_draws(subjects: Sequence[str], *, samples: int, seed: int) -> list[np.ndarray]:
    """Return bootstrap samples of the subjects, as the numbers of their cases.

    Args:
        subjects: of each case.
        samples: how many.
        seed: what they are drawn with.

    Returns:
        An array of whole numbers a sample; a subject that is drawn twice has all of its cases there twice.

    Example:
        >>> [len(draw) for draw in subject_draws(["a", "a", "b", "b"], samples=2, seed=0)]
        [4, 4]
    """
    names = list(dict.fromkeys(subjects))
    theirs = [np.flatnonzero(np.array(subjects) == name) for name in names]
    random = np.random.default_rng(seed)
    drawn = random.integers(0, len(names), (samples, len(names)))
    return [np.concatenate([theirs[one] for one in row]) for row in drawn]


def write_uncertainty(scores: UncertaintyScores, out: str | Path) -> None:
    """Write `uncertainty.json`, `uncertainty.csv` and `uncertainty_lesions.csv`, each whole or not at all.

    Args:
        scores: what `evaluate_uncertainty` returns.
        out: the folder.

    Raises:
        UserError: a file cannot be written.
    """
    summary, cases, lesions = UNCERTAINTY
    with swapped(out, UNCERTAINTY) as new:
        write_json(new / summary, scores.summary)
        write_csv(new / cases, scores.cases, columns=_CASE_COLUMNS)
        write_csv(new / lesions, scores.lesions, columns=_LESION_COLUMNS)


_CASE_COLUMNS = (
    *("case", "dice", "true_ml", "members", "agreement", "volume_ml", "lowest_ml", "highest_ml", "expected_dice"),
    *("volume_range", "lesions"),
)
_LESION_COLUMNS = ("case", "number", "true", "voxels", "volume_ml", "lsu", "probability", "entropy")


def uncertainty_tables(summary: Mapping[str, Any]) -> list[Table]:
    """Return what there is to see of it.

    Args:
        summary: of `evaluate_uncertainty`.

    Returns:
        The tables for `rich`.
    """
    tables = []
    cases, lesions = summary["case"], summary["lesion"]
    if cases:
        table = _table("How sure: cases", "Risk is 1 - Dice; lower is better. In brackets 95 % of bootstrap samples.")
        for heading in ("by", "AURC", "AUGRC", "better than chance by"):
            table.add_column(heading, justify="left" if heading == "by" else "right")
        for name, found in cases.items():
            gain = "-" if name == "chance" else _shown(found["gain"])
            table.add_row(_named(name, _CASE_SCORES), _shown(found["aurc"]), _shown(found["augrc"]), gain)
        tables.append(table)
    if lesions:
        table = _table("How sure: lesions", "Area under PPV and retention; higher is better.")
        for heading in ("by", "area", "better than chance by"):
            table.add_column(heading, justify="left" if heading == "by" else "right")
        for name, found in lesions.items():
            gain = "-" if name == "chance" else _shown(found["gain"])
            table.add_row(_named(name, _LESION_SCORES), _shown(found["ppv_area"]), gain)
        tables.append(table)
    if "voxel" in summary:
        table = _table("How sure: voxels of the brain", "After: temperature by the other subjects' cases.")
        for heading in ("", "ECE", "Brier"):
            table.add_column(heading, justify="left" if not heading else "right")
        for when in ("before", "after"):
            if found := summary["voxel"][when]:
                table.add_row(when, _shown(found["ece"], 5), _shown(found["brier"], 5))
        tables.append(table)
    if summary["missed"]:
        table = _table(
            "How sure: missed volume",
            "Voxels from the threshold on, which is chosen by the other subjects' cases with lesions.",
        )
        for heading in (
            "at most",
            "threshold",
            "missed",
            "cases within",
            "times the lesion (median)",
            "share of brain",
        ):
            table.add_column(heading, justify="right")
        for found in summary["missed"]:
            if found["threshold"] is None:
                table.add_row(f"{found['at_most']:g}", "too few cases", "-", "-", "-", "-")
            else:
                table.add_row(
                    f"{found['at_most']:g}",
                    f"{found['threshold']:.4g}",
                    _shown(found["missed"]),
                    _shown(found["within"]),
                    f"{found['times_lesion']:.2f}",
                    f"{found['share_of_brain']:.3f}",
                )
        tables.append(table)
    return tables


@dataclass(frozen=True)
class PredictionFiles:
    """Where the predictions of some cases lie: those of a system, and those of each of its members.

    Args:
        masks: the file of each case.
        probabilities: the files of each case, of which the mean counts; none where the system has no probabilities.
        members: the same of each member by name; none, or of at least two.

    Example:
        >>> files = PredictionFiles({"a": Path("a_lesion.mha")}, {"a": [Path("a_probability.mha")]})
        >>> len(files.members)
        0
    """

    masks: Mapping[str, Path]
    probabilities: Mapping[str, Sequence[Path]]
    members: Mapping[str, "PredictionFiles"] = field(default_factory=dict)

    @classmethod
    def of_folder(cls, folder: str | Path, cohort: Cohort, *, others: Collection[str] = ()) -> "PredictionFiles":
        """Return the files of a folder that `predict` has filled, see `evaluate_uncertainty`.

        Args:
            folder: of the masks.
            cohort: the cases.
            others: cases whose predictions may be there, too.

        Returns:
            Its files.

        Raises:
            UserError: a mask or probability is missing, or there are neither probabilities nor members.
        """
        folder = Path(folder)
        masks, probabilities = cls._own(folder, cohort, others)
        names = [case.name for case in cohort]
        home = folder / PARTS
        found = [one for one in home.iterdir() if _MEMBER.fullmatch(one.name)] if home.is_dir() else []
        members = {}
        for one in sorted(found, key=lambda path: int(path.name.partition("-")[0])):
            members[one.name] = cls(*cls._own(one, cohort, others))
        if len(members) < 2:
            members = {}
        if not probabilities and not members:
            raise UserError(
                f"{folder}: holds neither <case>{PROBABILITY}.<ext> nor {PARTS}/ of two members; predict with "
                "--probabilities --parts, and give that folder (no BIDS derivative)"
            )
        if missing := [name for name in names if probabilities and name not in probabilities]:
            raise UserError(f"{folder}: no probability of case {', '.join(missing)}; predict with --probabilities")
        return cls(masks, probabilities, members)

    @staticmethod
    def _own(folder: Path, cohort: Cohort, others: Collection[str]) -> tuple[dict[str, Path], dict[str, list[Path]]]:
        masks = {name: file for name, file in match_files(folder, cohort, others=others).items() if file is not None}
        found = volumes_named(folder, PROBABILITY)
        return masks, {name: [found[name]] for name in masks if name in found}

    def prediction(self, name: str) -> Prediction:
        """Return what the system, or a member, found in a case.

        Args:
            name: of the case.

        Returns:
            The mask, and the mean probability where there is one.

        Raises:
            UserError: a file cannot be read, holds no probabilities, or lies on another grid than the mask.
        """
        mask = read(self.masks[name])
        if not np.isfinite(mask.array).all():
            raise UserError(f"{self.masks[name]}: holds NaN or infinity; predict again")
        found = []
        for file in self.probabilities.get(name, ()):
            one = read(file)
            if differences := one.geometry.differences(mask.geometry):
                raise UserError(f"{file}: {', '.join(differences)} in the mask; predict again")
            if not np.isfinite(one.array).all():
                raise UserError(f"{file}: holds NaN or infinity; predict again")
            if one.array.min() < 0 or one.array.max() > 1:
                raise UserError(f"{file}: is not of values from 0 to 1; predict again")
            found.append(one.array)
        probability = None
        if found:
            mean = found[0] if len(found) == 1 else np.asarray(np.mean(found, axis=0, dtype=np.float64), np.float32)
            probability = Volume(mean, mask.geometry)
        return Prediction(Volume((mask.array != 0).astype(np.uint8), mask.geometry), probability)


@dataclass(frozen=True, eq=False)
class _Judged:
    """What one case says: its line, its lesions' lines, and its voxels by log-odds."""

    subject: str
    row: dict[str, Any]
    lesions: list[dict[str, Any]]
    counts: OddsCounts | None  # of the final probability, in the brain
    spread: OddsCounts  # of the members' mean, in brain and lesion


def _judge(case: Case, files: PredictionFiles, cohort: Cohort) -> _Judged:
    label = case.label.read()  # type: ignore[union-attr]  # match_files saw that it is there
    image = next(iter(case.images.values())).read()
    if differences := image.geometry.differences(label.geometry):
        raise UserError(f"case {case.name}: {', '.join(differences)} in the label; `multifocal data check` shows it")
    lesion, brain = counted(label.array, brain_mask(image.array), labels=cohort.labels)
    prediction = files.prediction(case.name)
    members = {name: one.prediction(case.name) for name, one in files.members.items()}
    found = uncertainty(prediction, members)
    mask = prediction.mask.array != 0
    if cohort.labels.ignore is not None:
        mask = mask & (label.array != cohort.labels.ignore)
    labels, count = components(prediction.mask.array)
    touched = np.bincount(labels[lesion], minlength=count + 1)[1:] > 0
    ends = (found.lowest_ml, found.highest_ml)
    row = {
        "case": case.name,
        "dice": overlap(mask, lesion).dice,
        "true_ml": float(np.count_nonzero(lesion)) * label.geometry.voxel_ml,
        **{name: getattr(found, name) for name in _CASE_COLUMNS if hasattr(found, name)},
        "volume_range": _relative_range(*ends),
        "lesions": len(found.lesions),
    }
    lesions = [
        {
            "case": case.name,
            "true": int(true),
            **{name: getattr(one, name) for name in _LESION_COLUMNS if hasattr(one, name)},
        }
        for one, true in zip(found.lesions, touched, strict=True)
    ]
    final = prediction.probability
    each = [one.mask.array if one.probability is None else one.probability.array for one in members.values()]
    mean = np.mean(each, axis=0) if each else final.array  # type: ignore[union-attr]  # one of the two is there
    region = brain | lesion
    return _Judged(
        subject=case.subject,
        row=row,
        lesions=lesions,
        counts=None if final is None else OddsCounts.of(final.array[brain], lesion[brain]),
        spread=OddsCounts.of(mean[region], lesion[region]),
    )


def _relative_range(lowest: float | None, highest: float | None) -> float | None:
    if lowest is None or highest is None:
        return None
    return 2 * (highest - lowest) / (highest + lowest) if highest else 0.0


def _value(
    values: np.ndarray, statistic: Callable[[np.ndarray], Any], draws: Sequence[np.ndarray]
) -> dict[str, float | None]:
    """Return a statistic of values a case, and its interval."""
    return _interval(float(statistic(values)), [float(statistic(values[draw])) for draw in draws])


def _interval(value: float, drawn: Sequence[float]) -> dict[str, float | None]:
    kept = [one for one in drawn if not np.isnan(one)]
    low, high = np.quantile(kept, [0.025, 0.975]).tolist() if kept else (None, None)
    return {"value": value, "low": low, "high": high}


def _of_cases(judged: Sequence[_Judged], draws: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return AURC and AUGRC by each of the case's uncertainties, by chance, and by the truth itself."""
    rows = [one.row for one in judged]
    risk = 1 - np.array([row["dice"] for row in rows])
    scores: dict[str, np.ndarray] = {}
    if all(row["expected_dice"] is not None for row in rows):
        scores["expected_dice"] = 1 - np.array([row["expected_dice"] for row in rows])
    if all(row["agreement"] is not None for row in rows):
        scores["agreement"] = 1 - np.array([row["agreement"] for row in rows])
        scores["volume_range"] = np.array([row["volume_range"] for row in rows])
    scores["small"] = -np.array([row["volume_ml"] for row in rows])
    scores |= {"chance": np.zeros(len(rows)), "truth": risk}
    return {name: _areas(score, risk, draws) for name, score in scores.items()}


def _areas(score: np.ndarray, risk: np.ndarray, draws: Sequence[np.ndarray]) -> dict[str, Any]:
    curve = risk_coverage(score, risk)
    drawn = [risk_coverage(score[draw], risk[draw]) for draw in draws]
    return {
        "aurc": _interval(curve.aurc, [one.aurc for one in drawn]),
        "augrc": _interval(curve.augrc, [one.augrc for one in drawn]),
        "gain": _interval(
            float(risk.mean()) - curve.aurc,
            [float(risk[draw].mean()) - one.aurc for draw, one in zip(draws, drawn, strict=True)],
        ),
        "curve": {"coverage": curve.coverage.tolist(), "risk": curve.risk.tolist()},
    }


def _of_lesions(judged: Sequence[_Judged], draws: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return the area under PPV and retention by each of the lesion's uncertainties, by chance, and by the truth."""
    rows = [row for one in judged for row in one.lesions]
    if not rows:
        return {}
    false = np.array([1.0 - row["true"] for row in rows])
    sizes = np.array([len(one.lesions) for one in judged])
    ends = np.cumsum(sizes)
    own = [np.arange(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    drawn = [np.concatenate([own[case] for case in draw]) for draw in draws]
    drawn = [draw for draw in drawn if draw.size]
    signs = {"lsu": 1.0, "probability": -1.0, "entropy": 1.0}
    scores = {
        name: sign * np.array([row[name] for row in rows])
        for name, sign in signs.items()
        if all(row[name] is not None for row in rows)
    }
    scores |= {"small": -np.array([row["volume_ml"] for row in rows]), "chance": np.zeros(len(rows)), "truth": false}
    found = {}
    for name, score in scores.items():
        curve = risk_coverage(score, false)
        areas = [1 - risk_coverage(score[draw], false[draw]).aurc for draw in drawn]
        found[name] = {
            "ppv_area": _interval(1 - curve.aurc, areas),
            "gain": _interval(
                float(false.mean()) - curve.aurc,
                [area - 1 + float(false[draw].mean()) for draw, area in zip(drawn, areas, strict=True)],
            ),
            "curve": {"retention": curve.coverage.tolist(), "ppv": (1 - curve.risk).tolist()},
        }
    return found


def _of_voxels(judged: Sequence[_Judged], draws: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return the reliability of the probability, as it is and by the other subjects' temperature."""
    counts = [one.counts for one in judged if one.counts is not None]
    before = np.array([reliability_sums(one, 1.0) for one in counts])
    found: dict[str, Any] = {"before": _reliability(before, draws), "after": None, "temperature": None}
    temperatures = []
    try:
        for one in judged:
            rest = [other.counts for other in judged if other.subject != one.subject and other.counts is not None]
            temperatures.append(calibrate(summed(rest)).temperature if rest else np.nan)
        found["temperature"] = calibrate(summed(counts)).temperature
    except UserError:  # all other cases are without lesion, or hold nothing else
        return found
    if np.isnan(temperatures).any():
        return found
    after = np.array([reliability_sums(*one) for one in zip(counts, temperatures, strict=True)])
    return {**found, "after": _reliability(after, draws)}


def _reliability(sums: np.ndarray, draws: Sequence[np.ndarray]) -> dict[str, Any]:
    whole = sums.sum(axis=0)
    value, drawn = of_sums(whole), [of_sums(sums[draw].sum(axis=0)) for draw in draws]
    names = ("nll", "brier", "ece")
    found = {name: _interval(getattr(value, name), [getattr(one, name) for one in drawn]) for name in names}
    return {**found, "diagram": diagram(whole)}


def _of_missed(
    judged: Sequence[_Judged], at_most: Sequence[float], draws: Sequence[np.ndarray]
) -> list[dict[str, Any]]:
    """Return for each bound which threshold keeps it, and whether it was kept on cases without part in the choice."""
    lesions = np.array([one.spread.lesion.sum() for one in judged])
    with_lesion = np.flatnonzero(lesions)
    if not with_lesion.size:
        return []
    # Column j: what lies below bin j, and is missed if the set begins there.
    below = np.array([np.concatenate([[0], np.cumsum(one.spread.lesion)[:-1]]) for one in judged])
    missed = below[with_lesion] / lesions[with_lesion, None]
    marked = np.array([np.cumsum(one.spread.voxels[::-1])[::-1] for one in judged])[with_lesion]
    subjects = np.array([one.subject for one in judged])[with_lesion]
    found: list[dict[str, Any]] = []
    for bound in at_most:
        chosen = [risk_control(missed[subjects != subject], bound) for subject in subjects]
        whole = risk_control(missed, bound)
        if whole is None or None in chosen:
            found.append({"at_most": bound, "threshold": None, "calibration_cases": len(with_lesion)})
            continue
        rows = np.arange(len(with_lesion))
        places = np.array(chosen, np.int64)
        share, size = missed[rows, places], marked[rows, places]
        own = {case: place for place, case in enumerate(with_lesion.tolist())}
        drawn = [[own[case] for case in draw.tolist() if case in own] for draw in draws]
        drawn = [draw for draw in drawn if draw]
        found.append(
            {
                "at_most": bound,
                "threshold": _probability_of_bin(whole, len(missed[0])),
                "calibration_cases": len(with_lesion),
                "missed": _interval(float(share.mean()), [float(share[draw].mean()) for draw in drawn]),
                "within": _interval(
                    float((share <= bound).mean()), [float((share[draw] <= bound).mean()) for draw in drawn]
                ),
                "times_lesion": float(np.median(size / lesions[with_lesion])),
                "share_of_brain": float(np.mean(size / marked[:, 0])),
            }
        )
    return found


def _probability_of_bin(bin_: int, bins: int) -> float:
    """Return the least probability that lies in a bin of the log-odds; 0 of the first, which holds all."""
    return float(special.expit((bin_ - 0.5) / (bins - 1) * 2 * LIMIT - LIMIT)) if bin_ else 0.0


def _named(name: str, known: Mapping[str, str]) -> str:
    return {"chance": "chance", "truth": "the truth (best possible)", **known}[name]


def _shown(found: Mapping[str, Any], digits: int = 3) -> str:
    if found["low"] is None:
        return f"{found['value']:.{digits}f}"
    return f"{found['value']:.{digits}f} [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"


def _table(title: str, caption: str) -> Table:
    return Table(title=title, title_justify="left", caption=caption, caption_justify="left")
