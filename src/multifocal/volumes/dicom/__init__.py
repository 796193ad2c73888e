"""ADC maps as scanners and PACS give them: a folder, a ZIP file or one file of DICOM in, a volume in 1e-6 mm²/s out."""

from multifocal.volumes.dicom.scan import DicomScan, read_dicom

__all__ = ["DicomScan", "read_dicom"]
