"""What C libraries write to stderr is not seen; what Python writes is."""

import os
import subprocess
import sys
import threading

from multifocal.quiet import quiet


def test_what_is_written_inside_is_not_seen(capfd):
    os.write(2, b"before ")
    with quiet(), quiet():
        os.write(2, b"inside ")
    os.write(2, b"after")
    assert capfd.readouterr().err == "before after"


def test_the_last_of_several_threads_gives_it_back(capfd):
    first, second = threading.Event(), threading.Event()

    def longer():
        with quiet():
            first.set()
            second.wait(20)
            os.write(2, b"thread ")

    thread = threading.Thread(target=longer)
    thread.start()
    assert first.wait(20)
    with quiet():
        pass
    os.write(2, b"main ")
    second.set()
    thread.join()
    os.write(2, b"end")
    assert capfd.readouterr().err == "end"


def test_an_error_gives_it_back(capfd):
    try:
        with quiet():
            raise ValueError
    except ValueError:
        os.write(2, b"seen")
    assert capfd.readouterr().err == "seen"


PROGRAM = """
import os, sys
from multifocal.quiet import keep_stderr, quiet
keep_stderr()
with quiet():
    print("python", file=sys.stderr)
    os.write(2, b"library\\n")
    if not os.fork():
        os.write(2, b"child\\n")
        os._exit(0)
    os.wait()
os.write(2, b"end\\n")
"""


def test_python_is_heard_where_it_asked_for_it_and_so_is_a_new_process():
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stderr == "python\nchild\nend\n"


def test_without_stderr_nothing_happens():
    program = "import os; os.close(2)\nfrom multifocal.quiet import *\nkeep_stderr()\nwith quiet(): print('done')"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "done\n"
