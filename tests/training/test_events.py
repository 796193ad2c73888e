"""TensorBoard's own reader reads what we write for it."""

import errno

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from multifocal.errors import UserError
from multifocal.training.run_checkpoint import _EventLog as EventLog


def read(folder):
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    names = accumulator.Tags()["scalars"]
    return {name: [(event.step, event.value) for event in accumulator.Scalars(name)] for name in names}


def test_tensorboard_reads_the_log_of_a_run(train, log):
    run = train("training.validate_every=2")
    found, rows = read(run / "tensorboard"), log(run)
    assert set(found) == set(rows[0]) - {"epoch"}
    for name, values in found.items():
        expected = [(int(row["epoch"]), float(row[name])) for row in rows if row[name]]
        assert values == [(step, pytest.approx(value, rel=1e-6)) for step, value in expected]


def test_a_resumed_run_begins_a_file_of_its_own(tmp_path):
    first = EventLog(tmp_path)
    for epoch in range(3):
        first.append({"epoch": epoch, "val/dice": epoch / 10})
    file = next((tmp_path / "tensorboard").iterdir())
    file.write_bytes(file.read_bytes()[:-7])  # killed in the middle of the third epoch's record
    EventLog(tmp_path).append({"epoch": 2, "val/dice": 0.7})
    assert read(tmp_path / "tensorboard") == {
        "val/dice": [(e, pytest.approx(v)) for e, v in ((0, 0), (1, 0.1), (2, 0.7))]
    }


def test_a_full_disk(tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("multifocal.training.run_checkpoint.RecordWriter.write", full)
    with pytest.raises(UserError, match="tensorboard/events.out.tfevents.000004: cannot write: the disk is full"):
        EventLog(tmp_path).append({"epoch": 4, "lr": 0.1})
