"""Another package, installed beside ours, adds one thing of each kind, and the command line knows them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

NAME = "lesionkit"
ENTRY_POINTS = {
    "multifocal.losses": "squared",
    "multifocal.networks": "pointwise",
    "multifocal.metrics": "bias",
    "multifocal.layouts": "flat",
    "multifocal.systems": "everywhere",
}
MODULES = {
    "squared": """
        from multifocal import losses

        @losses.register("squared-dice")
        def squared_dice(*, weight: float = 2.0):
            '''Dice, and Dice of the lesions' blobs.'''
            return losses.Dice() + weight * losses.Dice().over("blobs")
    """,
    "pointwise": """
        from torch import nn
        from multifocal import networks

        @networks.register("pointwise", dimensions=3)
        def pointwise(*, in_channels: int, out_channels: int, width: int = 4) -> nn.Module:
            '''A voxel at a time.'''
            network = nn.Sequential(nn.Conv3d(in_channels, width, 1), nn.ReLU(), nn.Conv3d(width, out_channels, 1))
            network.multiple = 1
            return network
    """,
    "bias": """
        from multifocal.metrics import MaskPair, metric

        @metric("bias", heading="bias", unit="1", best="zero", range=(-1.0, 1.0))
        def bias(pair: MaskPair) -> float:
            '''(|P| - |G|) / (|P| + |G|).'''
            whole = pair.overlap.predicted + pair.overlap.true
            return (pair.overlap.predicted - pair.overlap.true) / whole if whole else 0.0
    """,
    "flat": """
        from multifocal.cohorts import ImageFile
        from multifocal.cohorts.layouts import register

        @register("flat", needs="FLAT and NAME_adc.mha", matches=lambda root: (root / "FLAT").exists())
        def read(found):
            '''Files of all cases in one folder.'''
            for path in sorted(found.root.glob("*_adc.mha")):
                name = path.name.removesuffix("_adc.mha")
                images = {kind: ImageFile(found.root / f"{name}_{kind}.mha") for kind in ("adc", "zadc")}
                found.add(name, images=images, label=ImageFile(found.root / f"{name}_label.mha"))
    """,
    "everywhere": """
        from typing import Literal
        import numpy as np
        from multifocal.recipes import KINDS, Recipe
        from multifocal.systems import Prediction, System
        from multifocal.volumes import Volume

        class EverywhereRecipe(Recipe):
            kind: Literal["everywhere"] = "everywhere"
            value: int = 1

        @KINDS.register("everywhere")
        class Everywhere(System):
            '''Lesion everywhere.'''
            recipe_type = EverywhereRecipe

            def predict(self, case):
                grid = case.images["adc"].geometry()
                return Prediction(Volume(np.full(grid.size, self.recipe.value, np.uint8), grid), None)

            @classmethod
            def load(cls, recipe, folder, *, device):
                return cls(recipe)
    """,
}
RECIPE = "{kind: everywhere, name: all, description: lesion everywhere, source: lesionkit}"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """What pip leaves of a package: its modules, and what it says of itself."""
    site = tmp_path_factory.mktemp("site")
    (site / NAME).mkdir()
    (site / NAME / "__init__.py").touch()
    for module, text in MODULES.items():
        lines = text.strip("\n").splitlines()
        (site / NAME / f"{module}.py").write_text("\n".join(line[8:] for line in lines) + "\n")
    about = site / f"{NAME}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n")
    points = [f"[{group}]\n{name} = {NAME}.{name}" for group, name in ENTRY_POINTS.items()]
    (about / "entry_points.txt").write_text("\n".join(points) + "\n")
    return site


@pytest.fixture(scope="module")
def flat(small_cohort, tmp_path_factory) -> Path:
    """Two cases in the layout that the package knows."""
    folder = tmp_path_factory.mktemp("flat")
    (folder / "FLAT").touch()
    for name in ("S_1-VISIT_01", "S_2-VISIT_01"):
        for kind, file in (
            ("adc", f"1ADC_ss/{name}-ADC_ss.mha"),
            ("zadc", f"2Z_ADC/Zmap_{name}-ADC_smooth2mm_clipped10.mha"),
            ("label", f"3LABEL/{name}_lesion.mha"),
        ):
            (folder / f"{name}_{kind}.mha").write_bytes((small_cohort / file).read_bytes())
    return folder


@pytest.fixture
def run(site):
    """Run the command line beside the package."""

    def run(*arguments: object, code: int = 0) -> str:
        path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "multifocal", *map(str, arguments)]
        ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
        assert ended.returncode == code, ended.stderr
        return ended.stdout + ended.stderr

    return run


def test_the_lists_name_them(run):
    assert "squared-dice" in run("losses") and "pointwise" in run("networks")


def test_train_predict_and_evaluate_with_all_of_them(run, small_recipe, flat, tmp_path):
    changes = ["loss.name=squared-dice", "network={name: pointwise}", "training.epochs=1", "training.monitor=null"]
    run(
        "train", small_recipe, flat, "--out", tmp_path / "run", "--device", "cpu",
        *(word for change in changes for word in ("--set", change)),
    )  # fmt: skip
    run("predict", tmp_path / "run", flat, "--out", tmp_path / "masks", "--device", "cpu")
    run("evaluate", tmp_path / "masks", flat, "--out", tmp_path / "scores")
    assert "bias" in (tmp_path / "scores" / "cases.csv").read_text().splitlines()[0].split(",")


def test_a_system_of_another_package(run, flat, tmp_path):
    (tmp_path / "all.yaml").write_text(RECIPE)
    run("predict", tmp_path / "all.yaml", flat, "--out", tmp_path / "masks")
    run("evaluate", tmp_path / "masks", flat, "--out", tmp_path / "scores")
    assert "needs no training" in run("train", tmp_path / "all.yaml", flat, "--out", tmp_path / "run", code=2)


def test_options_are_checked_like_ours(run, small_recipe, flat, tmp_path):
    change = "network={name: pointwise, options: {wide: 3}}"
    said = run("train", small_recipe, flat, "--out", tmp_path / "run", "--set", change, code=2)
    assert "options of network pointwise: unknown key 'wide'; did you mean 'width'?" in said


def test_a_package_that_cannot_be_imported_is_named_and_left_out(run, site):
    broken = site / NAME / "squared.py"
    text = broken.read_text()
    broken.write_text("raise RuntimeError('out of order')\n")
    try:
        said = run("losses")
    finally:
        broken.write_text(text)
    assert "blob-gdf" in said and "lesionkit.squared cannot be imported: RuntimeError: out of order" in said
