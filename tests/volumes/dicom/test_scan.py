import json
import shutil
import zipfile

import dicom_series as made
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from multifocal.errors import UserError
from multifocal.volumes.dicom import read_dicom

WAYS = {
    "siemens": made.siemens,
    "ge": made.ge,
    "philips": made.philips,
    "enhanced": lambda folder: made.enhanced(folder / "1.dcm").parent,
    "mosaic": lambda folder: made.mosaic(folder / "1.dcm").parent,
    "mosaic downwards": lambda folder: made.mosaic(folder / "1.dcm", downwards=True).parent,
    "parametric map": lambda folder: (
        made.parametric_map(folder / "1.dcm", made.siemens(folder.parent / "source")).parent
    ),
}
TOLERANCE = {"philips": 1.6, "parametric map": 1e-3}  # half a step of the largest slope; float32


@pytest.mark.parametrize("way", WAYS)
def test_each_way_gives_the_same_map(tmp_path, way):
    scan = read_dicom(WAYS[way](tmp_path / "scan"))
    assert scan.volume.geometry.differences(made.oblique(), tolerance=1e-6) == []
    np.testing.assert_allclose(scan.volume.geometry.affine, made.oblique().affine, atol=1e-6)
    assert scan.volume.array.dtype == np.float32
    np.testing.assert_allclose(scan.volume.array, made.adc(), atol=TOLERANCE.get(way, 0))
    assert len(scan.planes) == 6


@pytest.mark.parametrize(
    ("way", "reason", "unit"),
    [
        ("siemens", "ADC in its image type", "1e-6 mm²/s, from its values"),
        ("ge", "ADC in its series description", "1e-6 mm²/s, from its values"),
        ("philips", "ADC in its image type", "1e-3 mm²/s, from its values"),
        ("enhanced", "ADC in its image type", "1e-06 mm²/s, from its header (10^-6 mm^2/s)"),
        ("parametric map", "the code of its quantity is apparent diffusion coefficient", "1 mm²/s, from its header"),
    ],
)
def test_it_says_why_and_in_which_unit(tmp_path, way, reason, unit):
    scan = read_dicom(WAYS[way](tmp_path / "scan"))
    assert scan.reason == reason
    assert scan.unit.startswith(unit)


def test_the_grid_is_that_of_simpleitk(tmp_path):
    folder = made.siemens(tmp_path / "scan")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image, scan = reader.Execute(), read_dicom(folder)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, scan.volume.array)
    np.testing.assert_allclose(image.GetDirection(), scan.volume.geometry.direction, atol=1e-6)
    np.testing.assert_allclose(image.GetSpacing(), scan.volume.geometry.spacing, atol=1e-6)
    np.testing.assert_allclose(image.GetOrigin(), scan.volume.geometry.origin, atol=1e-6)


def test_each_plane_names_its_image(tmp_path):
    folder = made.siemens(tmp_path / "scan")
    scan = read_dicom(folder)
    positions = {str(h.SOPInstanceUID): h.ImagePositionPatient for h in map(pydicom.dcmread, folder.iterdir())}
    for index, (uid, frame) in enumerate(scan.planes):
        assert frame is None
        np.testing.assert_allclose(
            [float(x) for x in positions[uid]], scan.volume.geometry.affine[:3] @ (0, 0, index, 1), atol=1e-6
        )
    scan = read_dicom(made.enhanced(tmp_path / "multi.dcm"))
    assert [frame for _, frame in scan.planes] == [12, 11, 10, 9, 8, 7]
    assert len(scan.headers) == 1


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1])
def test_compressed_series(tmp_path, syntax):
    folder = made.siemens(tmp_path / "scan")
    for file in folder.iterdir():
        header = pydicom.dcmread(file)
        if syntax in (RLELossless, JPEGLSLossless):
            header.compress(syntax)
        else:
            data = itk_frame(header.pixel_array, tmp_path / "frame.dcm", syntax)
            header.PixelData = pydicom.encaps.encapsulate([data])
            header["PixelData"].VR = "OB"
            header["PixelData"].is_undefined_length = True
            header.file_meta.TransferSyntaxUID = syntax
        # A decoder that took the slope for its own would return other numbers.
        header.RescaleSlope, header.RescaleIntercept = "0.5", "0"
        header.save_as(file)
    np.testing.assert_array_equal(read_dicom(folder, unit=2e-6).volume.array, made.adc())


def itk_frame(pixels, path, syntax):
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.SetUseCompression(True)
    writer.SetCompressor({JPEG2000Lossless: "JPEG2000", JPEGLosslessSV1: "JPEG"}[syntax])
    writer.SetFileName(str(path))
    writer.Execute(sitk.GetImageFromArray(pixels.astype(np.uint16)))
    written = pydicom.dcmread(path)
    assert written.file_meta.TransferSyntaxUID == syntax
    return next(pydicom.encaps.generate_frames(written.PixelData, number_of_frames=1))


def test_a_zip_file(tmp_path):
    made.siemens(tmp_path / "a" / "scan")
    archive = shutil.make_archive(str(tmp_path / "scan"), "zip", tmp_path / "a")
    np.testing.assert_array_equal(read_dicom(archive).volume.array, made.adc())


def test_other_series_reports_and_files_are_passed_over(tmp_path):
    folder = made.siemens(tmp_path / "scan")
    made.classic(folder / "t1", made.adc(seed=3), made.oblique(), series=2, ImageType=["ORIGINAL", "PRIMARY", "M"])
    made.classic(
        folder / "e", made.adc(), made.oblique(), series=8, SeriesDescription="eADC", ImageType=["D", "S", "O"]
    )
    made.classic(folder / "x", made.adc(), made.oblique(), series=9, ImageType=["DERIVED", "PRIMARY", "EADC"])
    (folder / "README.txt").write_text("nothing")
    (folder / ".DS_Store").write_bytes(b"\0" * 200)
    made.base(9, 1, Modality="SR", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33").save_as(
        folder / "sr.dcm", enforce_file_format=True
    )
    shutil.copy(next(folder.glob("a*.dcm")), folder / "copy.dcm")  # twice the same image
    assert read_dicom(folder).series == "series 7"


def test_a_series_can_be_chosen(tmp_path):
    made.classic(tmp_path / "a", made.adc(), made.oblique(), series=7)
    made.classic(tmp_path / "b", made.adc(seed=5), made.oblique(), series=8)
    refused(tmp_path, "several series are it .* 7 \\(6 images.*8 \\(6 images")
    np.testing.assert_array_equal(read_dicom(tmp_path, series=8).volume.array, made.adc(seed=5))
    uid = str(read_dicom(tmp_path, series="7").headers[0].SeriesInstanceUID)
    np.testing.assert_array_equal(read_dicom(tmp_path, series=uid).volume.array, made.adc())
    refused(tmp_path, "has no series 5; choose from: 7", series=5)


def test_padding_and_nan_become_0(tmp_path):
    stored = made.adc().astype(np.uint16)
    stored[0, 0, :] = 65535
    folder = made.classic(tmp_path / "scan", stored, made.oblique(), PixelPaddingValue=65535)
    assert (read_dicom(folder).volume.array[0, 0] == 0).all()
    file = made.parametric_map(tmp_path / "map.dcm", made.siemens(tmp_path / "source"))
    header = pydicom.dcmread(file)
    values = np.frombuffer(header.FloatPixelData, np.float32).copy()
    values[0] = np.nan
    header.FloatPixelData = values.tobytes()
    header.save_as(file)
    scan = read_dicom(file)
    assert (scan.volume.array == 0).sum() == 1
    assert scan.remarks == ("1 voxels are NaN or infinite, and read as 0",)


def test_a_late_start_is_remarked(tmp_path):
    scan = read_dicom(made.classic(tmp_path / "scan", made.adc(), made.oblique(), first=4))
    assert scan.remarks == ("its images are numbered from 4: the first may be missing",)


def test_nothing_is_said_of_the_patient(tmp_path, recwarn, caplog):
    folder = made.siemens(tmp_path / "scan")
    for file in folder.iterdir():  # pydicom quotes such names in its log, highdicom in a warning
        file.write_bytes(file.read_bytes().replace(b"SECRET-1", b"SECRET\\1"))
    scan = read_dicom(folder)
    for text in (json.dumps(scan.summary()), repr(scan), caplog.text, *map(str, (w.message for w in recwarn))):
        for secret in ("Doe", "SECRET", "ACC-9", "ST-4", "House", "Hospital", "20260101"):
            assert secret not in text


# What is wrong ---------------------------------------------------------------------------------------------------


def refused(path, pattern, **options):
    with pytest.raises(UserError, match=pattern) as caught:
        read_dicom(path, **options)
    assert "\n" not in str(caught.value)
    for secret in ("Doe", "SECRET"):
        assert secret not in str(caught.value)


def edit(folder, change, *, only=None):
    for index, file in enumerate(sorted(folder.glob("*.dcm"))):
        if only is None or index in only:
            header = pydicom.dcmread(file)
            change(header)
            header.save_as(file)


def test_what_is_no_dicom(tmp_path):
    refused(tmp_path / "none", "no such file or folder")
    refused(tmp_path, "not a DICOM file and none in it")
    (tmp_path / "text").write_text("hello")
    refused(tmp_path / "text", "not a DICOM file")
    (tmp_path / "secure").write_bytes(bytes.fromhex("308006092a864886f70d010703a0803080") + b"\0" * 500)
    refused(tmp_path / "secure", "encrypted DICOM")


def test_only_a_directory_or_a_report(tmp_path):
    header = made.base(9, 1, Modality="SR", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33")
    header.save_as(tmp_path / "sr.dcm", enforce_file_format=True)
    refused(tmp_path, "holds no images")


def test_a_bad_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        archive.writestr("../a.dcm", "x")
    refused(tmp_path / "scan.zip", "its path leaves the folder")
    assert not (tmp_path.parent / "a.dcm").exists()


def test_a_link_out_of_the_folder(tmp_path):
    made.siemens(tmp_path / "scan")
    (tmp_path / "secret.dcm").write_bytes(b"x")
    (tmp_path / "scan" / "link.dcm").symlink_to(tmp_path / "secret.dcm")
    refused(tmp_path / "scan", "link.dcm is a link out of the folder")


def test_truncated_files(tmp_path):
    folder = made.siemens(tmp_path / "scan")
    file = sorted(folder.iterdir())[0]
    whole = file.read_bytes()
    for length in range(140, len(whole), 97):
        file.write_bytes(whole[:length])
        with pytest.raises(UserError) as caught:
            read_dicom(folder)
        assert "\n" not in str(caught.value)


def test_two_patients(tmp_path):
    folder = made.siemens(tmp_path / "scan")
    made.classic(folder / "other", made.adc(), made.oblique(), series=2, PatientID="SECRET-2")
    refused(folder, "images of 2 patients; give the folder of one")


def test_colour(tmp_path):
    folder = made.siemens(tmp_path / "scan")

    def paint(header):
        header.SamplesPerPixel, header.PhotometricInterpretation, header.PlanarConfiguration = 3, "RGB", 0

    edit(folder, paint)
    refused(folder, "in colour, a picture and no map")


def test_no_series_says_that_it_is_adc(tmp_path):
    folder = made.classic(tmp_path / "scan", made.adc(), made.oblique(), ImageType=["ORIGINAL", "PRIMARY", "M"])
    refused(folder, r"no series says that it is an ADC map; name one \(series=NUMBER\) of: 7 \(6 images, M\)")
    assert read_dicom(folder, series=7).reason == "chosen by the user"


def test_several_images_at_a_position(tmp_path):
    folder = tmp_path / "scan"
    for number, b_value in enumerate((0.0, 1000.0)):
        made.classic(folder, made.adc(), made.oblique(), first=1 + 6 * number, DiffusionBValue=b_value)
    refused(folder, r"2 images at each position \(4D: b-values 0, 1000\)")


def test_a_missing_slice_and_an_uneven_gap(tmp_path):
    folder = made.siemens(tmp_path / "scan")
    sorted(folder.iterdir())[2].unlink()
    refused(folder, r"1 slice\(s\) missing after slice 3 of 5 \(gap of 6.6 mm, others 3.3 mm\)")
    folder = made.siemens(tmp_path / "uneven")

    def lift(header):
        normal = made.oblique().matrix[:, 2]
        header.ImagePositionPatient = [
            f"{x + 0.4 * n:.8f}" for x, n in zip(header.ImagePositionPatient, normal, strict=True)
        ]

    edit(folder, lift, only={2})
    refused(folder, "slices 3 and 4 are 2.9 mm apart|slices 4 and 5 are 3.7 mm apart|slices 4 and 5 are 2.9 mm apart")


def test_one_slice(tmp_path):
    folder = made.siemens(tmp_path / "scan")
    refused(sorted(folder.iterdir())[0], r"one slice \(1 images\); give the folder")


def test_mixed_orientations_and_sizes(tmp_path):
    folder = made.siemens(tmp_path / "scan")
    edit(folder, lambda header: setattr(header, "ImageOrientationPatient", [1, 0, 0, 0, 1, 0]), only={0})
    refused(folder, "images of several orientations")
    folder = made.siemens(tmp_path / "sizes")
    edit(folder, lambda header: setattr(header, "PixelSpacing", [3, 3]), only={0})
    refused(folder, "images of several sizes")


def test_shifted_slices(tmp_path):
    folder = made.siemens(tmp_path / "scan")

    def shift(header):
        row = made.oblique().matrix[:, 0]
        header.ImagePositionPatient = [f"{x + n:.8f}" for x, n in zip(header.ImagePositionPatient, row, strict=True)]

    edit(folder, shift, only={5})
    refused(folder, "shifted against each other")


def test_no_position(tmp_path):
    folder = made.siemens(tmp_path / "scan")
    edit(folder, lambda header: delattr(header, "ImagePositionPatient"))
    refused(folder, "does not say where its images lie")


def test_a_mosaic_without_its_private_header(tmp_path):
    refused(made.mosaic(tmp_path / "1.dcm", private=False), "private header .* is gone")


def test_units_that_do_not_fit(tmp_path):
    folder = made.classic(tmp_path / "scan", made.adc() * 20, made.oblique())
    refused(folder, "it has no rescale slope, no unit in its header, and the median of its middle is")
    np.testing.assert_allclose(read_dicom(folder, unit=5e-8).volume.array, made.adc(), rtol=1e-6)
    refused(folder, "unit=0 is not a diffusivity", unit=0.0)
    folder = made.siemens(tmp_path / "lie")
    edit(folder, lambda h: h.update({"RescaleSlope": "1", "RescaleIntercept": "0", "RescaleType": "mm2/s"}))
    refused(folder, "its header says mm2/s, but the median of its middle is .* which no brain has in it")
    edit(folder, lambda header: setattr(header, "RescaleSlope", "0"))
    refused(folder, "its slope 0 and intercept 0 make no values")
    folder = made.classic(tmp_path / "empty", made.adc() * 0, made.oblique())
    refused(folder, "empty in its middle")


def test_half_of_the_slices_with_a_slope(tmp_path):
    folder = made.siemens(tmp_path / "scan")
    edit(folder, lambda h: h.update({"RescaleSlope": "2", "RescaleIntercept": "0"}), only={0, 1})
    refused(folder, "some slices have a rescale slope and some have none")
    edit(folder, lambda h: h.update({"RescaleSlope": "2", "RescaleIntercept": "0"}))
    edit(folder, lambda h: h.update({"RescaleType": "um2/s"}), only={0})
    refused(folder, "in several units")


def test_pixels_that_nothing_decodes(tmp_path):
    folder = made.siemens(tmp_path / "scan")
    for file in folder.iterdir():
        header = pydicom.dcmread(file)
        header.PixelData = pydicom.encaps.encapsulate([b"\0" * 64])
        header["PixelData"].is_undefined_length = True
        header["PixelData"].VR = "OB"
        header.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"  # MPEG2
        header.save_as(file)
    refused(folder, "compressed as MPEG2 .* decompress it")


def test_deflated_files_are_refused(tmp_path):
    folder = made.siemens(tmp_path / "scan")
    for file in folder.iterdir():
        header = pydicom.dcmread(file)
        header.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
        header.save_as(file, implicit_vr=False, little_endian=True)
    refused(folder, "a deflated file")


@pytest.mark.parametrize("way", ["siemens", "philips", "enhanced", "mosaic"])
def test_no_header_however_broken_ends_in_a_traceback(tmp_path, way):
    folder = WAYS[way](tmp_path / "scan")
    file = sorted(folder.iterdir())[-1]
    whole, random = file.read_bytes(), np.random.default_rng(0)
    for _ in range(40):
        broken = bytearray(whole)
        for place in random.integers(132, min(len(whole), 1600), 6):
            broken[place] = random.integers(256)
        file.write_bytes(broken)
        try:
            read_dicom(folder)
        except UserError as error:
            assert "\n" not in str(error)
