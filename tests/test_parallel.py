"""Jobs in processes: in order, and none stays behind however it ends."""

import multiprocessing
import operator
import os
import signal
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
