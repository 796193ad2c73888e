"""What `multifocal predict` writes beside a mask: tables, pages, pictures, DICOM and BIDS."""

from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from multifocal.cli.screen import notice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from multifocal.cohorts import Case
    from multifocal.systems import Prediction, System
    from multifocal.volumes.dicom import DicomScan


@dataclass(frozen=True)
class Outputs:
    """What is asked for beside masks.

    Args:
        folder: where it goes.
        statistics: `scans.csv`, `lesions.csv` and `CASE_scan.json`.
        report: `CASE_report.html`.
        preview: `CASE_preview.png`.
        bids: a BIDS derivative.
        dicom: the scan that `CASE_seg.dcm` and `CASE_sr.dcm` refer to; None writes none.
        segments: of these, a segment for each of the lesions, or one of all.
        encoding: of these, the form of the segmentation.
        keep_identity: of these, whether the patient is named.
        remarks: what was said of the scan before; it may still grow.
    """

    folder: Path
    statistics: bool = False
    report: bool = False
    preview: bool = False
    bids: bool = False
    dicom: "DicomScan | None" = None
    segments: Literal["lesions", "one"] = "lesions"
    encoding: Literal["binary", "labelmap"] = "binary"
    keep_identity: bool = False
    remarks: list[str] = field(default_factory=list)

    @property
    def any(self) -> bool:
        """Whether anything is."""
        return self.need_findings or self.preview or self.bids

    @property
    def need_findings(self) -> bool:
        """Whether lesions are measured for it."""
        return self.statistics or self.report or self.dicom is not None

    def check(self, model: "System", cases: "Iterable[Case]", *, overwrite: bool) -> None:
        """Raise `UserError` where something could not be written; say what flags will not know.

        Args:
            model: what predicts.
            cases: what is predicted.
            overwrite: whether files that exist are replaced.

        Raises:
            UserError: a name is none of BIDS, or its files exist.
        """
        if self.need_findings and model.recipe.needs_training and None in model.ranges:
            notice(
                f"{model.recipe.name} does not say what it was trained on: a scan of another age, unit or size is not "
                "told"
            )
        if self.bids:
            from multifocal.exporters.bids import DERIVATIVE, check_bids

            check_bids(self.folder / DERIVATIVE, cases, overwrite=overwrite)

    def write(self, model: "System", digest: str, case: "Case", prediction: "Prediction", mask: Path) -> None:
        """Write all of it for a case.

        Args:
            model: what predicted.
            digest: SHA-256 of the model.
            case: what was predicted.
            prediction: what was found.
            mask: the file of the mask.

        Raises:
            UserError: a file cannot be written.
        """
        from multifocal.systems import find, flags, uncertainty_of, write_findings

        own: dict[str, Any] = {"model": model.recipe.name, "digest": digest}
        if self.bids:
            from multifocal.exporters.bids import DERIVATIVE, write_bids

            write_bids(self.folder / DERIVATIVE, case, prediction, **own)
        if self.preview:
            from multifocal.reports.preview import write_preview

            write_preview(self.folder / f"{case.name}_preview.png", case, mask)
        if not self.need_findings:
            return
        sure = uncertainty_of(model, case, prediction)
        findings = find(case, prediction, sure)
        raised = flags(case, prediction, uncertainty=sure, ranges=model.ranges)
        for flag in raised:
            if flag.raised:
                notice(f"{case.name}: {flag.text}")
        if self.dicom is not None:
            from multifocal.exporters import Algorithm, write_dicom_seg, write_dicom_sr

            made_by = Algorithm(model.recipe.name[:64], version("multifocal"), digest)
            seg, sr = self.folder / f"{case.name}_seg.dcm", self.folder / f"{case.name}_sr.dcm"
            forms: Any = {"segments": self.segments, "encoding": self.encoding, "identity": self.keep_identity}
            write_dicom_seg(findings.labels, self.dicom, seg, algorithm=made_by, **forms)
            write_dicom_sr(seg, self.dicom, sr, identity=self.keep_identity)
        told: dict[str, Any] = {**own, "flags": raised, "remarks": self.remarks}
        if self.statistics:
            write_findings(self.folder, findings, **told)
        if self.report:
            from multifocal.reports.scan_page import write_scan_page

            write_scan_page(self.folder / f"{case.name}_report.html", case, mask, findings, **told)
