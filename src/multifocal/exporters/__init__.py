"""What goes out to other programs: DICOM segmentations, measurement reports, series; BIDS derivatives.

DICOM needs the extra `scan`: `pip install 'multifocal[scan]'`.
"""

from typing import TYPE_CHECKING

from lazy_loader import attach

if TYPE_CHECKING:
    from multifocal.exporters.bids import check_bids, write_bids
    from multifocal.exporters.dicom_objects import Algorithm
    from multifocal.exporters.dicom_seg import write_dicom_seg
    from multifocal.exporters.dicom_series import write_dicom_series
    from multifocal.exporters.dicom_sr import write_dicom_sr

__all__ = ["Algorithm", "check_bids", "write_bids", "write_dicom_seg", "write_dicom_series", "write_dicom_sr"]

# Other exporters that this package gets must not want DICOM's libraries.
__getattr__, __dir__, _ = attach(
    __name__,
    submod_attrs={
        "bids": ["check_bids", "write_bids"],
        "dicom_objects": ["Algorithm"],
        "dicom_seg": ["write_dicom_seg"],
        "dicom_series": ["write_dicom_series"],
        "dicom_sr": ["write_dicom_sr"],
    },
)
