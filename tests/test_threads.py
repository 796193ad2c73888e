"""Threads and waiting, on machines that are shared or belong to one container among many."""

import os

import pytest
import torch

from multifocal import threads


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of so many cores, with a load, and a container's limit on time."""
    before = torch.get_num_threads()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)

    def machine(cores, *, load=0.0, limit="max 100000"):
        quota = tmp_path / "cpu.max"
        quota.write_text(limit)
        monkeypatch.setattr(threads, "_QUOTA", quota)
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
        monkeypatch.setattr(os, "getloadavg", lambda: (load, 9.0, 9.0))

    yield machine
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("cores", "limit", "found"),
    [(8, "max 100000", 8), (8, "250000 100000", 2), (8, "50000 100000", 1), (2, "800000 100000", 2), (4, "?", 4)],
)
def test_cores_are_those_of_the_container(machine, cores, limit, found):
    machine(cores, limit=limit)
    assert threads.cores() == found


def test_an_old_container_has_its_limit_elsewhere(machine, monkeypatch, tmp_path):
    machine(8)
    monkeypatch.setattr(threads, "_QUOTA", tmp_path / "none")
    files = tmp_path / "quota", tmp_path / "period"
    monkeypatch.setattr(threads, "_QUOTA_1", files)
    assert threads.cores() == 8
    for quota, found in (("300000", 3), ("-1", 8)):
        files[0].write_text(quota + "\n")
        files[1].write_text("100000\n")
        assert threads.cores() == found


@pytest.mark.parametrize(
    ("cores", "load", "number", "waiting"),
    [(2, 0.1, 2, None), (2, 1.0, 1, "PASSIVE"), (2, 3.4, 1, "PASSIVE"), (16, 4.2, 12, "PASSIVE"), (1, 0.0, 1, None)],
)
def test_threads_leave_others_their_cores_and_sleep_beside_them(machine, cores, load, number, waiting):
    machine(cores, load=load)
    threads.settle_waiting()
    assert threads.settle_threads() == torch.get_num_threads() == number
    assert os.environ.pop("OMP_WAIT_POLICY", None) == waiting


def test_what_the_user_says_counts(machine, monkeypatch):
    machine(16, load=9.0)
    assert threads.settle_threads(3) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    threads.settle_waiting()
    torch.set_num_threads(5)  # as torch does when it is imported
    assert threads.settle_threads() == 5 and os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
