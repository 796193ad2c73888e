"""Jobs in processes: in order, and none stays behind however it ends."""

import multiprocessing
import operator
import os
import signal
import subprocess
import sys
from functools import partial

import pytest

from multifocal.errors import UserError
from multifocal.parallel import parallel_map


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers):
    assert list(parallel_map(abs, [-3, 1, -2], workers=workers)) == [3, 1, 2]
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_out_as_it_is(workers):
    with pytest.raises(TypeError, match="must be an integer|bad operand|cannot be interpreted"):
        list(parallel_map(operator.index, [1, "two", 3], workers=workers))
    assert not multiprocessing.active_children()


def test_a_killed_process_is_reported():
    with pytest.raises(UserError, match="use fewer workers"):
        list(parallel_map(os._exit, [1, 1, 1], workers=2))
    assert not multiprocessing.active_children()


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no signal masks on this system")
def test_processes_do_not_hear_an_interrupt_and_the_parent_does():
    # An importable function with its arguments bound, for a spawned process cannot import this file.
    (mask,) = parallel_map(partial(signal.pthread_sigmask, signal.SIG_BLOCK), [()], workers=2)
    assert signal.SIGINT in mask
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


SCRIPT = """
from multifocal.errors import UserError
from multifocal.parallel import parallel_map
try:
    print(list(parallel_map(abs, [-1, 2], workers=2)))
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("script", "how", "told"),
    [
        (
            SCRIPT,
            "file",
            "script.py: each of several processes would run the script from its start; put what the script",
        ),
        (
            SCRIPT,
            "stdin",
            "a script from stdin cannot have several processes, for they read it again; save it, and put",
        ),
        (SCRIPT + "print(__name__)", "file", "no process could begin: each imports the main script first; put what"),
        (SCRIPT, "-c", "[1, 2]"),
        (SCRIPT.replace("try:", "try:\n  if __name__ == '__main__':"), "file", "[1, 2]"),
    ],
)
def test_a_main_script_that_processes_cannot_import_is_the_reason_that_is_told(tmp_path, script, how, told):
    file = tmp_path / "script.py"
    file.write_text(script)
    given = {"file": [str(file)], "stdin": ["-"], "-c": ["-c", script]}[how]
    ended = subprocess.run([sys.executable, *given], input=script, capture_output=True, text=True, timeout=120)
    assert told in ended.stdout and "memory" not in ended.stdout


@pytest.mark.parametrize("option", ["processes=2", "workers"])
def test_so_it_is_of_a_training(small_cohort, small_recipe, tmp_path, option):
    given = ("", ", processes=2") if option == "processes=2" else ("'training.workers=1'", "")
    (tmp_path / "script.py").write_text(f"""
import multifocal as mf
cohort, recipe = mf.open_cohort({str(small_cohort)!r}), mf.recipes.load({str(small_recipe)!r}, overrides=[{given[0]}])
split = mf.choose_split(cohort, recipe)
try:
    mf.fit(recipe, cohort, split=split, out={str(tmp_path / "run")!r}, device="cpu"{given[1]})
except mf.UserError as error:
    print(error)
""")
    ended = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=120)
    assert (
        "each of several processes would run the script from its start" in ended.stdout
        and "Traceback" not in ended.stderr
    )
    assert not (tmp_path / "run").exists()
