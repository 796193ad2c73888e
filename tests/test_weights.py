import json
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from multifocal.errors import UserError
from multifocal.weights import read_tree, read_weights, write_tree, write_weights

DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
)


def _same(a, b) -> bool:
    """Equal in values and types, all the way down; NaN equals NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))
    if isinstance(a, dict):
        return [type(k) for k in a] == [type(k) for k in b] and list(a) == list(b) and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


def test_the_comparison_of_these_tests_can_fail():
    for a, b in ((1, True), (1, 1.0), ((1,), [1]), ({1: 2}, {"1": 2}), (math.nan, 0.0)):
        assert not _same(a, b)
    assert not _same(torch.ones(1), torch.ones(1, 1)) and not _same(torch.ones(1), torch.ones(1).double())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.safetensors"


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"]))
TENSORS = st.builds(
    lambda dtype, shape: (torch.arange(math.prod(shape)) % 3).reshape(shape).to(dtype),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 3), max_size=3),
)
TREES = st.recursive(
    PLAIN | TENSORS,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text("ab", max_size=2) | st.integers() | st.booleans(), inner)
    ),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(tree=TREES)
def test_trees_there_and_back(tree, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "tree.safetensors"
    write_tree(path, tree)
    assert _same(read_tree(path), tree)


@pytest.mark.parametrize(
    "tree",
    [
        {},
        None,
        (),
        {"a": ((1, [2, ()]), {}), 3: math.nan, (1, "x"): -math.inf, None: True, "big": 2**80},
        {"0-d": torch.tensor(3.5), "none of them": torch.empty(0, 4), "half": torch.ones(2, dtype=torch.bfloat16)},
        torch.tensor([math.nan, math.inf]),
    ],
)
def test_special_trees(tree, path):
    write_tree(path, tree)
    assert _same(read_tree(path), tree)


def test_shared_strided_and_trained_tensors(path):
    base = torch.arange(24.0).reshape(2, 3, 4)
    parameter = torch.nn.Parameter(base[:, 1:])
    last = torch.rand(1, 2, 4, 4, 4).to(memory_format=torch.channels_last_3d)
    tree = {"whole": base, "view": base.transpose(0, 2), "again": base, "parameter": parameter, "last": last}
    write_tree(path, tree)
    found = read_tree(path)
    assert all(torch.equal(found[name], tree[name]) for name in tree)
    assert type(found["parameter"]) is torch.Tensor and not found["parameter"].requires_grad
    write_weights(path, {name: tree[name] for name in ("whole", "again", "parameter", "last")})
    assert all(torch.equal(tensor, tree[name]) for name, tensor in read_weights(path).items())


@pytest.mark.parametrize(
    "value",
    [
        np.float32(1),
        np.float64(1),
        np.int64(1),
        np.bool_(True),
        np.zeros(2),
        {1, 2},
        object(),
        len,
        torch.float32,
        b"x",
    ],
)
def test_what_is_not_plain_is_refused(value, path):
    for tree in (value, {"a": [value]}):
        with pytest.raises(TypeError, match="without pickling"):
            write_tree(path, tree)
    assert not path.exists()


def test_a_network_there_and_back(path):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3), torch.nn.BatchNorm3d(2))
    write_weights(path, network.state_dict())
    found = read_weights(path)
    assert set(found) == set(network.state_dict())
    assert all(_same(found[name], value) for name, value in network.state_dict().items())


class Bomb:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


@pytest.mark.parametrize("read", [read_weights, read_tree])
@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_pickle_is_refused_and_never_run(read, write, path, tmp_path):
    trace = tmp_path / "trace"
    write({"state_dict": Bomb(trace)}, path)
    trace.unlink(missing_ok=True)
    with pytest.raises(UserError, match="pickled checkpoints are never opened") as caught:
        read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert not trace.exists()


def test_the_bomb_of_that_test_goes_off_elsewhere(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "trace"))).close()
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file(share, path):
    write_tree(path, {"a": torch.rand(100), "b": [1]})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    for read in (read_weights, read_tree):
        with pytest.raises(UserError, match="not a whole safetensors file") as caught:
            read(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"hello", b"\xff" * 64, b"PK\x03\x04" + bytes(100)])
def test_other_files(content, path):
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a whole safetensors file"):
        read_weights(path)


def test_files_that_are_not_there(path, tmp_path):
    for where in (path, tmp_path):
        with pytest.raises(UserError, match="no such file"):
            read_weights(where)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"other": "x"},
        {"tree": "{"},
        {"tree": "3"},
        {"tree": '["tensor", "9"]'},
        {"tree": '["dict", [1]]'},
        {"tree": json.dumps(["dict", [[["list", []], ["plain", 1]]]])},
    ],
)
def test_weights_are_no_state_of_a_run(metadata, path):
    save_file({"0": torch.ones(1)}, path, metadata=metadata)
    with pytest.raises(UserError, match="does not hold the state of a training run"):
        read_tree(path)


@pytest.mark.filterwarnings("ignore:.*LeafSpec")  # of Lightning 2.6 on torch 2.13
def test_what_lightning_puts_into_a_checkpoint(path, tmp_path):
    lightning = pytest.importorskip("lightning", reason="the extra train is not installed")
    from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO

    class Capture(CheckpointIO):
        def save_checkpoint(self, checkpoint, path, storage_options=None):
            self.kept = checkpoint

        def load_checkpoint(self, path, map_location=None, weights_only=None): ...

        def remove_checkpoint(self, path): ...

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch, _):
            return self.layer(batch).square().mean()

        def configure_optimizers(self):
            optimizer = torch.optim.AdamW(self.parameters(), lr=1e-3)
            return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]

    capture = Capture()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=2,
        plugins=[capture],
        default_root_dir=tmp_path,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), torch.utils.data.DataLoader(torch.rand(4, 2), batch_size=2))
    trainer.save_checkpoint(tmp_path / "unused.ckpt")
    write_tree(path, capture.kept)
    found = read_tree(path)
    assert found["epoch"] == 2 and found["global_step"] == 4
    assert found["optimizer_states"][0]["state"][0]["step"].item() == 4
    assert _same(found, _plain(capture.kept))


def _plain(value):
    """Dicts of any kind as dicts."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value
