"""Rows at Weights & Biases and MLflow: offline where they are installed, and a stand-in everywhere."""

import json

import pytest
from lightning.pytorch.loggers import Logger

from multifocal import recipes, versions
from multifocal.errors import UserError
from multifocal.training import loggers

BOTH = "training.loggers=[wandb, mlflow]"


class StandIn(Logger):
    """A logger that only remembers."""

    made: list["StandIn"] = []

    def __init__(self, run, identity):
        super().__init__()
        self.given, self.rows, self.status, self.settings = identity, [], None, None
        self.run_id = identity or "id-1"
        self.made.append(self)

    name, version = "stand-in", "0"

    def log_hyperparams(self, params, *arguments, **options):
        self.settings = params

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, metrics))

    def finalize(self, status):
        self.status = status


@pytest.fixture
def stand_in(monkeypatch):
    StandIn.made = []
    monkeypatch.setattr(versions, "find_spec", lambda name: name)
    monkeypatch.setattr(loggers, "_wandb", StandIn)
    monkeypatch.setattr(loggers, "_mlflow", StandIn)
    return StandIn.made


def test_every_row_of_the_log_is_told(train, stand_in, log):
    run = train(BOTH)
    assert len(stand_in) == 2
    for logger in stand_in:
        assert logger.status == "success" and logger.settings["training"]["epochs"] == 3 and logger.given is None
        found = [{name: str(value) for name, value in row.items()} for _, row in logger.rows]
        assert [step for step, _ in logger.rows] == [0, 1, 2] and found == log(run)
    assert json.loads((run / "loggers.json").read_text()) == {"wandb": "id-1", "mlflow": "id-1"}


def test_a_resumed_run_goes_on_under_its_name(train, stand_in, monkeypatch):
    def fail(self, metrics, step=None):
        if step == 1:
            raise KeyboardInterrupt
        self.rows.append((step, metrics))

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(StandIn, "log_metrics", fail)
        train("training.loggers=[mlflow]")
    assert stand_in[0].status == "failed"
    train("training.loggers=[mlflow]", resume=True)
    assert stand_in[1].given == "id-1" and stand_in[1].status == "success"
    assert [step for step, _ in stand_in[1].rows] == [2]


def test_logging_changes_no_weight(train, stand_in):
    runs = train(out="plain"), train(BOTH, out="logged")
    one, other = ((run / "weights.safetensors").read_bytes() for run in runs)
    assert one == other and not (runs[0] / "loggers.json").exists()


def test_only_the_first_process_logs(train, stand_in, forked):
    run = train("training.loggers=[mlflow]", processes=2, device="cpu")
    assert json.loads((run / "loggers.json").read_text()) == {"mlflow": "id-1"}


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_package_that_is_not_there_is_named_before_anything_is_written(train, tmp_path, monkeypatch, name):
    monkeypatch.setattr(versions, "find_spec", lambda asked: None if asked == name else asked)
    message = rf"training.loggers needs {name}: pip install 'multifocal\[{name}\]'"
    with pytest.raises(UserError, match=message):
        train(BOTH)
    assert not (tmp_path / "run").exists()


def test_a_logger_that_cannot_begin_says_so_before_training(train, stand_in, tmp_path, monkeypatch):
    def refuse(run, identity):
        raise RuntimeError("api_key not configured\n(no-tty)")

    monkeypatch.setattr(loggers, "_mlflow", refuse)
    with pytest.raises(UserError, match=r"mlflow cannot begin \(api_key not configured \(no-tty\)\); log in, set"):
        train(BOTH)
    assert stand_in[0].status == "failed" and not (tmp_path / "run" / "log.csv").exists()


def test_an_unknown_logger_is_refused(small_recipe):
    with pytest.raises(UserError, match="training.loggers.0: Input should be 'wandb' or 'mlflow'"):
        recipes.load(small_recipe, overrides=["training.loggers=[comet]"])


def test_wandb_offline(train, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for number in range(2):  # a second run of the process is a run of its own
        run = train("training.loggers=[wandb]", "training.epochs=2", out=str(number))
        files = list((run / "wandb").glob("offline-run-*/run-*.wandb"))
        assert len(files) == 1 and wandb.run is None
        written = files[0].read_bytes()
        assert b"val/dice" in written and b"train/loss" in written
        assert json.loads((run / "loggers.json").read_text())["wandb"] in files[0].name


def test_mlflow_offline(train, monkeypatch, log, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("alembic")  # with sqlalchemy, for a database of its own
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = train("training.loggers=[mlflow]", "training.epochs=2")
    identity = json.loads((run / "loggers.json").read_text())["mlflow"]
    client = mlflow.MlflowClient(f"sqlite:///{run / 'mlflow.db'}")
    kept = client.get_run(identity)
    assert kept.info.status == "FINISHED" and kept.info.run_name == "run"
    assert kept.data.params["training/epochs"] == "2"
    history = client.get_metric_history(identity, "val/dice")
    assert {path.name for path in tmp_path.iterdir()} == {"run"}
    assert [(m.step, m.value) for m in history] == [(n, float(row["val/dice"])) for n, row in enumerate(log(run))]
