"""The curves of a run, for TensorBoard."""

import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from multifocal.files import write_error

FOLDER = "tensorboard"


class EventLog:
    """A file of scalars that grows by one row an epoch.

    TensorBoard's own writer is a thread, which Ctrl-C at the wrong moment leaves waiting for ever. A resumed run begins
    another file, because the one before may end in the middle of a record.

    Args:
        run: the run folder.
    """

    def __init__(self, run: Path) -> None:
        self.folder = run / FOLDER
        self._path: Path | None = None

    def append(self, row: Mapping[str, float]) -> None:
        """Write the values of `row["epoch"]`.

        Raises:
            UserError: the file cannot be written.
        """
        step, now = int(row["epoch"]), time.time()
        values = [Summary.Value(tag=name, simple_value=value) for name, value in row.items() if name != "epoch"]
        events = [Event(wall_time=now, step=step, summary=Summary(value=values))]
        path = self._path or self.folder / f"events.out.tfevents.{step:06d}"
        if self._path is None:
            events.insert(0, Event(wall_time=now, file_version="brain.Event:2"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab" if self._path else "wb") as file:
                writer = RecordWriter(file)
                for event in events:
                    writer.write(event.SerializeToString())
        except OSError as error:
            raise write_error(path, error) from error
        self._path = path
