"""Help, exit codes, and lists."""

import subprocess
import sys

import pytest
import yaml

from multifocal import cli, losses, models, networks, recipes
from multifocal.cli import lists
from multifocal.errors import UserError
from multifocal.losses.named import LOSSES
from multifocal.systems.network_recipe import TrainingSettings

COMMANDS = (
    (), ("demo",), ("train",), ("predict",), ("evaluate",), ("compare",), ("ensemble",), ("study",), ("studies",),
    ("report",), ("models",), ("recipes",), ("networks",), ("losses",), ("data",), ("data", "check"), ("data", "folds"),
    ("data", "fetch"), ("data", "phantom"), ("zadc",), ("atlas",), ("atlas", "build"), ("convert-sam2",),
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_help_of_every_command_has_an_example(multifocal, command):
    ended = multifocal(*command, "--help")
    assert ended.code == 0 and ended.err == ""
    assert "Example: multifocal" in ended.out


@pytest.mark.parametrize("command", [command for command in COMMANDS if command])
def test_every_command_is_named_by_the_one_above_it(multifocal, command):
    assert f"│ {command[-1]} " in multifocal(*command[:-1], "--help").out


def test_help_does_not_wait_for_torch():
    code = "import sys; from multifocal import cli; import multifocal.cli.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_version(multifocal):
    import multifocal as package

    assert multifocal("--version").out == f"{package.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [("trian",), ("train",), ("train", "default"), ("evaluate", "m", "c"), ("demo", "--cases", "3"), ("demo", "--wat")],
)
def test_wrong_usage_is_exit_code_2(multifocal, arguments):
    ended = multifocal(*arguments)
    assert ended.code == 2 and "Error" in ended.err and ended.out == ""


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (UserError("a.mha: broken;\ncopy it again"), 2, "error: a.mha: broken; copy it again\n"),
        (UserError("[red]a[/red].mha: x" + " long" * 60), 2, "error: [red]a[/red].mha: x" + " long" * 60 + "\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (PermissionError(13, "denied", "run/a"), 2, "error: run/a: no permission; change it, or choose another path\n"),
        (
            ModuleNotFoundError(name="monai.losses"),
            2,
            "error: this needs monai.losses: pip install 'multifocal[train]'\n",
        ),
    ],
)
def test_what_the_user_can_put_right_is_one_line(multifocal, monkeypatch, raised, code, line):
    def fail(*where, **group):
        raise raised

    monkeypatch.setattr("multifocal.cli.lists._listed", fail)
    ended = multifocal("networks")
    assert (ended.code, ended.out, ended.err) == (code, "", line)


def test_a_bug_shows_its_traceback(monkeypatch):
    def fail(*where, **group):
        raise ZeroDivisionError

    monkeypatch.setattr("multifocal.cli.lists._listed", fail)
    with pytest.raises(ZeroDivisionError):
        cli.run(["networks"])


def test_a_missing_package_of_no_extra_is_a_bug(monkeypatch):
    def fail(*where, **group):
        raise ModuleNotFoundError(name="numpy")

    monkeypatch.setattr("multifocal.cli.lists._listed", fail)
    with pytest.raises(ModuleNotFoundError):
        cli.run(["networks"])


def test_lists_name_everything_and_say_what_it_is(multifocal):
    for command, floor in (("models", models), ("recipes", recipes), ("networks", networks), ("losses", losses)):
        lines = multifocal(command).out.splitlines()
        for name in floor.names():
            (line,) = [line for line in lines if line.split()[:1] == [name]]
            assert len(line.split()) > 3


@pytest.mark.parametrize("floor", [losses, networks])
def test_what_is_read_from_the_source_is_what_the_registry_says(floor):
    where = {"multifocal.losses": "losses/named.py", "multifocal.networks": "networks"}[floor.__name__]
    assert lists._listed(where, group="nobody's") == {name: floor.describe(name) for name in floor.names()}


@pytest.mark.parametrize("command", ["losses", "models", "networks", "recipes"])
def test_a_list_needs_no_torch(command):
    says = f"from multifocal import cli; cli.run(['{command}'])"
    then = "import atexit, sys; atexit.register(lambda: sys.stderr.write(str('torch' in sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", f"{then}; {says}"], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0 and ended.stderr == "False" and ended.stdout


def test_a_recipe_is_printed_as_it_can_be_used_again(multifocal, tmp_path):
    for name in recipes.names():
        (tmp_path / "mine.yaml").write_text(multifocal("recipes", name).out)
        assert recipes.load(tmp_path / "mine.yaml") == recipes.load(name)
        assert yaml.safe_load((tmp_path / "mine.yaml").read_text())["name"] == name


def test_an_unknown_recipe_is_told_the_nearest(multifocal):
    ended = multifocal("recipes", "defualt")
    assert ended.code == 2 and ended.err.startswith("error: unknown recipe 'defualt'; did you mean 'default'?")


def test_the_module_is_the_command():
    ended = subprocess.run([sys.executable, "-m", "multifocal", "losses"], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0 and "tversky" in ended.stdout and ended.stderr == ""


def test_an_error_of_the_installed_command_is_one_line():
    command = [
        sys.executable,
        "-m",
        "multifocal",
        "train",
        "hie-small",
        "nowhere",
        "--out",
        "run",
        "--set",
        "training.epoch=3",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2 and ended.stdout == ""
    known = ", ".join(sorted(TrainingSettings.model_fields))
    line = f"error: hie-small: training: unknown key 'epoch'; did you mean 'epochs'? Choose from: {known}\n"
    assert ended.stderr == line


@pytest.mark.parametrize("name", [*losses.names(), "compound"])
def test_a_loss_is_shown_with_its_options_and_what_it_weighs(multifocal, name):
    ended = multifocal("losses", name)
    assert ended.code == 0
    if name == "compound":
        assert "over" in ended.out and "blobs" in ended.out
        return
    assert losses.describe(name) in " ".join(ended.out.split()) and "small lesion, missed" in ended.out
    assert all(option in ended.out for option in LOSSES.options(name))


def test_a_network_is_shown_with_its_options_and_its_weights(multifocal):
    ended = multifocal("networks", "unet3d")
    count = sum(weight.numel() for weight in networks.build("unet3d", in_channels=1).parameters())
    assert (
        ended.code == 0
        and f"{count:,} weights" in ended.out
        and " ".join(ended.out.split()).count("features [32, 64, 128, 256]") == 1
    )
    assert "in_channels" not in ended.out


def test_the_list_of_networks_says_their_dimensions(multifocal):
    lines = [line.split() for line in multifocal("networks").out.splitlines()]
    said = {line[0]: line[1] for line in lines[1:]}
    assert lines[0] == ["network", "dimensions", "definition"]
    assert said == {name: f"{networks.dimensions(name)}D" for name in networks.names()}
    assert lists._dimensions("networks", group="nobody's") == {n: networks.dimensions(n) for n in networks.names()}
    assert lists._dimensions("networks", group="multifocal.networks") == lists._dimensions("networks", group="nobody's")


@pytest.mark.parametrize(("name", "size"), [("unet3d", "8,9,3"), ("monai-unet-2d", "17,8")])
def test_the_time_of_a_step_is_measured_on_request(multifocal, name, size):
    assert "a training step" not in multifocal("networks", name).out
    ended = multifocal("networks", name, "--size", size, "--device", "cpu")
    assert ended.code == 0 and ended.err == ""
    assert f"s a training step: one image of {size.replace(',', '×')}, dice-ce, 32 bits, 1 thread;" in ended.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "8,8,8"), "--size measures one network; name it before --size"),
        (("unet3d", "--size", "8,8"), "--size 8,8: expected 3 whole numbers for unet3d, such as 96,96,32"),
        (("unet3d", "--size", "8,8,0"), "--size 8,8,0: expected 3 whole numbers"),
        (("unetpp", "--size", "8x8"), "--size 8x8: expected 2 whole numbers for unetpp, such as 96,96"),
        (("unet3", "--size", "8x8"), "unknown network 'unet3'"),
    ],
)
def test_a_size_that_cannot_be(multifocal, arguments, message):
    ended = multifocal("networks", *arguments)
    assert ended.code == 2 and ended.out == "" and ended.err.startswith(f"error: {message}")


@pytest.mark.parametrize(("command", "name"), [("losses", "dise"), ("networks", "unet3")])
def test_what_there_is_not_is_named(multifocal, command, name):
    ended = multifocal(command, name)
    assert ended.code == 2 and f"'{name}'; did you mean" in ended.err
