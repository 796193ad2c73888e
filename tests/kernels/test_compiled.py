"""Every part is worked on once, whoever takes it, and no thread stays behind."""

import threading
import time

import pytest

from multifocal.kernels.compiled import parallel_for


@pytest.mark.parametrize("count", [0, 1, 5, 1000])
@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("least", [1, 3, 10**6])
def test_every_part_is_worked_on_once(count, threads, least):
    done, before = [], threading.active_count()
    parallel_for(lambda start, stop: done.extend(range(start, stop)), count, threads=threads, least=least)
    assert sorted(done) == list(range(count))
    assert threading.active_count() == before


def test_a_slow_thread_does_not_keep_the_others_waiting():
    parts = {}

    def work(start, stop):
        me = threading.current_thread()
        parts[me] = parts.get(me, 0) + 1
        if me is threading.main_thread():
            time.sleep(0.2)

    parallel_for(work, 80, threads=2)
    assert parts.get(threading.main_thread(), 0) < 4 and sum(parts.values()) == 8


def test_what_is_raised_in_a_thread_is_raised_here():
    def work(start, stop):
        if threading.current_thread() is not threading.main_thread():
            raise ZeroDivisionError
        time.sleep(0.2)

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        parallel_for(work, 80, threads=2)
    assert threading.active_count() == before
