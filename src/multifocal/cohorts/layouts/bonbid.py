"""BONBID-HIE as published: one folder for ADC, one for Z-ADC, one for the lesion labels."""

from pathlib import Path

from multifocal.cohorts.case import ImageFile, Split
from multifocal.cohorts.layouts.layout_result import LayoutResult
from multifocal.cohorts.layouts.registry import register

ADC, ZADC, LABEL = "1ADC_ss", "2Z_ADC", "3LABEL"
_ENDINGS: dict[str, Split] = {"train": "train", "val": "val", "test": "test"}


def _parts(root: Path) -> list[Path]:
    """Return the folders that hold cases: the root itself, or its children (BONBID2023_Train, _Val, _Test)."""
    return [
        folder
        for folder in (root, *sorted(child for child in root.iterdir() if not child.name.startswith(".")))
        if (folder / ADC).is_dir() or (folder / ZADC).is_dir() or (folder / LABEL).is_dir()
    ]


def _matches(root: Path) -> bool:
    return root.is_dir() and bool(_parts(root))


@register(
    "bonbid-hie",
    needs=f"{ADC}/CASE-ADC_ss.mha and {ZADC}/Zmap_CASE-ADC_smooth2mm_clipped10.mha (labels: {LABEL}/CASE_lesion.mha), "
    "in the folder or in its children",
    matches=_matches,
)
def read(found: LayoutResult) -> None:
    """Find the cases of BONBID-HIE: maps "adc" and "zadc", subject = the name before "-VISIT_".

    The folder's name gives the split: `..._Train`, `..._Val`, `..._Test` in any case of letters.

    Args:
        found: has the folder, gets the cases and problems.
    """
    for part in _parts(found.root):
        ending = next((end for end in _ENDINGS if part.name.lower().endswith(end)), None)
        _read_part(found, part, split=_ENDINGS[ending] if ending else None)


def _read_part(found: LayoutResult, part: Path, *, split: Split | None) -> None:
    maps = {}
    for name, folder, pattern, expected in (
        ("adc", part / ADC, r"(.+)-ADC_ss", "CASE-ADC_ss"),
        ("zadc", part / ZADC, r"Zmap_(.+)-ADC_smooth2mm_clipped10", "Zmap_CASE-ADC_smooth2mm_clipped10"),
    ):
        if not folder.is_dir():
            cure = "; where there is none, name the other files in a manifest (layout csv)" if name == "zadc" else ""
            found.problem(f"{found.short(folder)}: no such folder; it must hold a file {expected} of every case{cure}")
        maps[name] = found.listing(folder, pattern=pattern, expected=expected) if folder.is_dir() else {}
    adc, zadc = maps["adc"], maps["zadc"]
    # With a whole folder missing, one line says it all.
    for name in sorted(adc.keys() - zadc.keys()) if (part / ZADC).is_dir() else ():
        found.problem(f"{found.short(adc[name])} has no Z-ADC in {found.short(part / ZADC)}; add it", case=name)
    for name in sorted(zadc.keys() - adc.keys()) if (part / ADC).is_dir() else ():
        found.problem(f"{found.short(zadc[name])} has no ADC in {found.short(part / ADC)}; add it", case=name)
    labels = found.labels(part / LABEL, zadc | adc, pattern=r"(.+)_lesion", expected="CASE_lesion")
    for name in sorted(adc.keys() | zadc.keys()):
        images = {key: ImageFile(files[name]) for key, files in maps.items() if name in files}
        found.add(name, subject=name.split("-VISIT_")[0], images=images, label=labels.get(name), split=split)
