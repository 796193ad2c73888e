import numpy as np
import pytest

from multifocal.cohorts.intensities import image_complaints, label_complaints

RNG = np.random.default_rng(3)
ADC = np.where(np.arange(600) < 200, RNG.uniform(700, 1800, 600), 0).reshape(10, 10, 6)
ZADC = np.where(np.arange(600) < 200, RNG.normal(0, 2, 600).clip(-10, 10), 0).reshape(10, 10, 6)


def told(complaints):
    return [f"{severity}: {text}" for severity, text in complaints]


def test_good_maps_have_no_complaint():
    assert not told(image_complaints("adc", ADC)) and not told(image_complaints("zadc", ZADC))
    # The units of other maps are not known.
    assert not told(image_complaints("flair", ADC / 1e6)) and not told(image_complaints("t1", abs(ZADC) * 100))


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (1e-6, "it looks like mm²/s: multiply it by 1e+06"),
        (1e-3, "it looks like 1e-3 mm²/s: multiply it by 1000"),
        (0.1, "; convert it"),
        (100, "; convert it"),
    ],
)
def test_adc_in_another_unit(factor, expected):
    (complaint,) = told(image_complaints("adc", (ADC * factor).astype(np.float32)))
    assert complaint.startswith("error: brain median") and expected in complaint


def test_negative_noise_is_a_warning():
    noisy = ADC.copy()
    noisy.flat[:2] = (-5, -7.5)
    assert told(image_complaints("adc", noisy)) == [
        "warning: 2 voxels are negative (down to -7.5): noise, or a wrong sign"
    ]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (ZADC * 10, "warning: values from"),
        (abs(ZADC), "warning: no voxel is negative"),
        (-abs(ZADC), "warning: no voxel is positive"),
    ],
)
def test_zadc_that_is_no_clipped_score(array, expected):
    (complaint,) = told(image_complaints("zadc", array))
    assert complaint.startswith(expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_broken_voxels_are_counted(value):
    array = ADC.astype(np.float32)
    array[:3, 0, 0] = value
    assert told(image_complaints("adc", array)) == ["error: 3 voxels are NaN or infinite; replace the image"]


@pytest.mark.parametrize("name", ["adc", "zadc", "t1"])
def test_empty_and_constant_images(name):
    assert told(image_complaints(name, np.zeros((3, 3), np.int16))) == [
        "error: empty brain: every voxel is 0; replace the image"
    ]
    assert told(image_complaints(name, np.full((3, 3), 7))) == [
        "error: constant image: every voxel that is not 0 is 7; replace the image"
    ]
    assert "constant image" in told(image_complaints(name, (ADC > 0) * 900.0))[0]
    nothing = told(image_complaints(name, np.full((3, 3), np.nan)))
    assert len(nothing) == 2 and "9 voxels are NaN" in nothing[0] and "empty brain" in nothing[1]


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.bool_])
def test_good_labels(dtype):
    for array in (np.zeros((4, 4)), np.eye(4), np.ones((4, 4))):
        assert not told(label_complaints(array.astype(dtype), instances=False))
    assert not told(label_complaints(np.arange(16, dtype=np.uint16).reshape(4, 4), instances=True))


def test_bad_labels_list_their_values():
    (complaint,) = told(label_complaints(np.arange(16.0).reshape(4, 4), instances=False))
    assert complaint == "error: the label holds 2, 3, 4, 5, 6, ...; expected only 0 and 1 (a binary label)"
    (complaint,) = told(label_complaints(np.array([[0, 0.5], [255, 1]]), instances=False))
    assert "the label holds 0.5, 255; expected" in complaint
    (complaint,) = told(label_complaints(np.array([[0, -1], [2.5, 1]]), instances=True))
    assert complaint == "error: the label holds -1, 2.5; expected whole numbers from 0"
    (complaint,) = told(label_complaints(np.array([[0, np.nan]]), instances=False))
    assert "NaN" in complaint
