"""Cells on a Ray cluster of two machines, one of which is lost."""

import os
import re
import time
from pathlib import Path

import pytest

from multifocal import studies
from multifocal.errors import UserError
from multifocal.studies.local import execute
from multifocal.studies.ray_backend import run_on_ray
from multifocal.studies.settings import Resources

os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_timeout_ms": "120000",  # a busy machine answers late, and is not lost for that
    "RAY_health_check_period_ms": "500",  # one that is lost refuses at once
}
ray = pytest.importorskip("ray")
SMALLEST = 80 * 2**20  # bytes that Ray wants for its object store


@pytest.fixture(scope="module")
def cluster():
    """A head that runs nothing, and two machines that do."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": SMALLEST}
    cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
    cluster.machines = [patiently(lambda: cluster.add_node(num_cpus=1, object_store_memory=SMALLEST)) for _ in range(2)]
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def patiently(start, *, tries=5):
    """Start a part of a cluster; a busy computer may be too slow for the half minute that Ray waits."""
    for left in reversed(range(tries)):
        try:
            return start()
        except Exception as error:  # noqa: BLE001  (Ray raises nothing more special)
            if "timed out during startup" not in str(error) or not left:
                raise
    return None


def masks(folder: Path):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*_lesion.mha")}


def log_of(out, arm, fold):
    path = out / "cells" / arm / f"fold{fold}-seed0" / "cell.log"
    return path.read_text() if path.exists() else ""


def test_what_no_machine_can_run_is_refused(cluster):
    with pytest.raises(UserError, match=r"none of the \d machines of the Ray cluster has 2 cores, 1 GiB and 0 GPUs"):
        list(run_on_ray([], resources=Resources(cpus=2, memory_gib=1), address=cluster.address))


def test_a_cluster_that_is_not_there_is_an_error_for_people():
    with pytest.raises(UserError, match="Ray cluster 127.0.0.1:1: cannot connect: .*refused"):
        list(run_on_ray([], resources=Resources(), address="127.0.0.1:1"))


def test_more_cells_than_are_in_flight_all_end(cluster, study, cohort, small_cohort, tmp_path, monkeypatch):
    from multifocal.studies import ray_backend as engine

    monkeypatch.setattr(engine, "IN_FLIGHT", 3)
    with studies.open_study(study, cohort, tmp_path / "study", engine="ray") as plan:
        jobs = studies.jobs(plan, cohort=small_cohort)
    events = run_on_ray(
        jobs,
        resources=study.resources,
        address=cluster.address,
        task=lambda job, *, cpus, gpu: job.ended(state="failed" if job.arm == "dice" else "done"),
    )
    told = [event for event in events if event]
    ended = [(job, outcome) for job, outcome in told if outcome]
    begun = [job.cell for job, outcome in told if outcome is None]
    assert begun == [job.cell for job, _ in ended]  # each before it ends, though none wrote a log
    assert sorted(job.cell for job, _ in ended) == sorted(job.cell for job in jobs)
    assert all(outcome.state == ("failed" if job.arm == "dice" else "done") for job, outcome in ended)


def test_a_lost_cell_that_cannot_be_written_down_stops_no_other(study, cohort, small_cohort, tmp_path, monkeypatch):
    from multifocal.studies import ray_backend as engine

    def lost(reference):
        raise ray.exceptions.RayError("its machines were lost")

    with studies.open_study(study, cohort, tmp_path / "study", engine="ray") as plan:
        job = studies.jobs(plan, cohort=small_cohort)[0]
    job.folder.parent.mkdir(parents=True)
    job.folder.write_text("a file, where nothing can be written")
    monkeypatch.setattr(ray, "get", lost)
    assert engine._outcome(job, None).error == "Ray: its machines were lost"


def test_a_machine_is_lost_and_nothing_else(cluster, finished, small_study, cohort, small_cohort, tmp_path):
    out, study, lost, events = tmp_path / "study", studies.load(small_study), [], []
    at_work = tmp_path / "at-work"  # where the first cell waits for the second, so that each machine has one
    at_work.mkdir()

    def execute_together(job, *, cpus, gpu):
        (at_work / job.cell.name.replace("/", "-")).touch()
        while len(list(at_work.iterdir())) < 2:
            time.sleep(0.05)
        return execute(job, cpus=cpus, gpu=gpu)

    def lose_one(event):
        events.extend([event] if event else [])
        begun = [arm for arm in ("dice", "false") if " started, process " in log_of(out, arm, 0)]
        if len(begun) == 2 and not lost:
            lost.extend(int(re.search(r"process (\d+)", log_of(out, arm, 0))[1]) for arm in begun)
            cluster.remove_node(cluster.machines[0], allow_graceful=False)

    with studies.open_study(study, cohort, out, engine="ray") as plan:
        outcomes = studies.run_cells(
            plan,
            lambda jobs: run_on_ray(jobs, resources=study.resources, address=cluster.address, task=execute_together),
            cohort=small_cohort,
            on_event=lose_one,
        )
        studies.conclude(plan)

    assert len(lost) == 2 and [outcome.state for outcome in outcomes] == ["done"] * 4
    begun = [job.cell for job, outcome in events if outcome is None]
    assert len(begun) == len(set(begun)) == 4  # one that is begun again is told once
    first_end = next(place for place, (_, outcome) in enumerate(events) if outcome)
    assert first_end >= 2  # both machines were told to be at work before anything ended
    logs = [log_of(out, arm, fold) for arm in ("dice", "false") for fold in (0, 2)]
    assert [text.count(" done after ") for text in logs] == [1] * 4  # nothing is run twice to the end
    assert sum(text.count(" started, ") for text in logs) == 5  # and one cell was begun again
    assert masks(out) == masks(finished)  # which the local engine made
    for arm in ("dice", "false"):
        assert (out / "arms" / arm / "cases.csv").read_bytes() == (finished / "arms" / arm / "cases.csv").read_bytes()
