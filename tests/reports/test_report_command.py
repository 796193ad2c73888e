import signal

import children
import pytest

from multifocal.files import WRITING


@pytest.fixture
def command(processes, tmp_path):
    """Run `multifocal report` in a process of its own; return its exit code and what it said."""

    def command(*arguments, die=None):
        arguments = ["report", *map(str, arguments)]
        process = processes.Process(target=children.command, args=(arguments, tmp_path / "screen", die))
        process.start()
        process.join()
        return process.exitcode, *((tmp_path / f"screen.{end}").read_text() for end in ("out", "err"))

    return command


def test_the_command_says_where_the_report_is(command, small_study, small_cohort):
    code, out, err = command(small_study, small_cohort, "--workers", 2)
    assert (code, err) == (0, "")
    assert out == f"open in a browser: {small_study / 'report' / 'index.html'}\n"
    assert len(list((small_study / "report" / "cases").glob("*.html"))) == 6


def test_what_can_be_put_right_is_one_line(command, small_study, small_cohort, phantom):
    for arguments, says in (
        ((small_cohort,), "is not a study's folder"),
        ((small_study, small_study), "no known layout"),
        ((small_study, phantom), "which cohort cohort does not have"),
    ):
        code, out, err = command(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert says in err


def test_a_report_that_is_killed_leaves_the_old_one(command, small_study, small_cohort):
    assert command(small_study)[0] == 0
    before = (small_study / "report" / "index.html").read_bytes()
    code, _, _ = command(small_study, small_cohort, die=("multifocal.reports.report:write_index", 1))
    assert code == -signal.SIGKILL
    assert (small_study / "report" / "index.html").read_bytes() == before
    assert [path for path in small_study.iterdir() if path.name.startswith(WRITING)]
    assert command(small_study, small_cohort)[0] == 0
    assert (small_study / "report" / "index.html").read_bytes() != before
    assert not [path for path in small_study.iterdir() if path.name.startswith(WRITING)]
