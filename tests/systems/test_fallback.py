"""Another model in the place of one whose maps are not all there."""

import pytest

from multifocal import recipes
from multifocal.errors import UserError
from multifocal.systems import load_model
from multifocal.systems.fallback import stand_in


@pytest.mark.parametrize("name", recipes.names())
def test_what_stands_in_reads_less(name):
    other = recipes.fallback(name)
    if other is not None:
        assert set(recipes.load(other).maps) < set(recipes.load(name).maps)


def test_a_model_of_the_package_knows_one():
    model = load_model("hie-synthetic")
    found = stand_in(model, "hie-synthetic", maps=["adc"])
    assert (found.system.recipe.name, found.run) == ("hie-synthetic-adc", "hie-synthetic-adc")
    assert stand_in(model, "hie-synthetic", maps=["zadc", "adc"]) is None
    assert stand_in(model, "hie-synthetic", maps=["zadc"]) is None  # which the other does not read either
    assert stand_in(model, None, maps=["adc"]) is None


def test_a_run_of_that_name_on_the_disk_does_not(tmp_path, monkeypatch):
    """A model fitted on synthetic scans is no substitute for one that somebody fitted on real ones."""
    model = load_model("hie-synthetic")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hie-synthetic").mkdir()
    (tmp_path / "hie-synthetic" / "recipe.yaml").touch()
    assert stand_in(model, "hie-synthetic", maps=["adc"]) is None


def test_any_model_can_be_given():
    model = load_model("zadc-threshold")
    found = stand_in(model, "zadc-threshold", maps=["adc"], fallback="hie-synthetic-adc")
    assert found.line.startswith("zadc-threshold reads adc, zadc, and zadc is missing: hie-synthetic-adc, which")
    for maps in (["adc"], ["adc", "zadc"]):  # where nothing is missing, too: not only on the day that something is
        with pytest.raises(UserError, match="runs/none: no such run folder"):
            stand_in(model, "zadc-threshold", maps=maps, fallback="runs/none")
    assert stand_in(model, "zadc-threshold", maps=["adc", "zadc"], fallback="zadc-clean") is None
    with pytest.raises(UserError, match="--fallback zadc-clean: reads zadc, too, which is missing"):
        stand_in(model, "zadc-threshold", maps=["adc"], fallback="zadc-clean")
