"""Names of files reach the terminal with their control characters written out."""

import io
import os
import shutil
import subprocess
import sys

import pytest
from rich.table import Table
from rich.text import Text

from multifocal.cli.screen import Screen, escaped

EVIL, SHOWN = "a\x1b[31m\x07\u202e\x9b2J", r"a\x1b[31m\x07\u202e\x9b2J"


def test_only_what_steers_a_terminal_is_written_out():
    assert escaped(EVIL) == SHOWN
    for harmless in ("Fall 1 – Zoë 3×4 mm²", "two\nlines\tand a tab", "日本\u3000語", "[red]x[/red]"):
        assert escaped(harmless) == harmless
    assert escaped(os.fsdecode(b"a\xff")) == r"a\udcff"


@pytest.mark.parametrize("shown", [EVIL, Text(EVIL), Text(EVIL, style="bold")])
def test_whatever_is_printed(shown):
    for colour in ("standard", None):
        file = io.StringIO()
        screen = Screen(file=file, width=100, color_system=colour, force_terminal=colour is not None)
        table = Table(title="title" + EVIL)
        table.add_column("column" + EVIL)
        table.add_row(shown)
        screen.print(table)
        screen.print(shown, soft_wrap=True)
        text = file.getvalue()
        assert text.replace(r"\x07", "").count(SHOWN.replace(r"\x07", "")) == 4  # Rich's texts drop a bell
        assert "\x07" not in text and "\u202e" not in text and "\x1b[31m" not in text


def test_messages_of_commands(multifocal, cohort, small_recipe, tmp_path):
    evil = tmp_path / EVIL
    for arguments in (
        ("data", "check", evil),
        ("train", tmp_path / f"{EVIL}.yaml", cohort, "--out", tmp_path / "run"),
        ("predict", "zadc-threshold", cohort, "--out", tmp_path / "masks", "--set", EVIL),
        ("evaluate", evil, cohort, "--out", tmp_path / "scores"),
    ):
        ended = multifocal(*arguments)
        assert ended.code == 2 and SHOWN in ended.err and ended.err.isascii()
        assert ended.err.count("\n") == 1 and ended.err.strip().isprintable()
    shutil.copy(next((cohort / "1ADC_ss").iterdir()), cohort / "1ADC_ss" / f"x{EVIL}.mha")
    evil = shutil.move(cohort, evil)
    ended = multifocal("data", "check", evil)
    assert ended.code == 2 and f"1ADC_ss/x{SHOWN}.mha: unexpected name" in ended.out
    assert "\x1b" not in ended.out and "\x07" not in ended.out
    ended = multifocal("predict", "zadc-threshold", evil, "--out", tmp_path / "masks")
    assert SHOWN in ended.err and ended.err.strip().isprintable()


def test_bytes_that_are_no_character(multifocal, cohort, tmp_path):
    try:
        odd = shutil.move(cohort, tmp_path / os.fsdecode(b"a\xff"))
    except OSError:
        pytest.skip("this file system takes characters only")
    ended = multifocal("data", "check", odd, "--csv", tmp_path / "check.csv")  # which ITK would not survive
    assert ended.code == 2 and r"-ADC_ss.mha: has bytes in its name that are no characters" in ended.out
    assert r"a\udcff/1ADC_ss" in ended.out and r"a\udcff/1ADC_ss" in (tmp_path / "check.csv").read_text()
    ended = multifocal("predict", "zadc-threshold", odd, "--out", tmp_path / "masks")
    assert ended.code == 2 and r"a\udcff/" in ended.err and ended.err.count("\n") == 1


def test_a_stderr_that_cannot_be_written_changes_no_exit_code(tmp_path):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        command = [sys.executable, "-m", "multifocal", "recipes", "defualt"]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, timeout=120)
    assert ended.returncode == 2
