"""torch.compile: the labelling breaks the graph, and nothing else changes."""

import shutil

import pytest
import torch

from multifocal import losses

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("g++", "clang++", "c++")), reason="inductor needs a C++ compiler"
)


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("name", losses.names())
def test_a_compiled_loss(name, random_batch):
    batch = random_batch((2, 1, 12, 10))
    loss = losses.build(name)
    compiled = torch.compile(loss, backend="eager")
    left, right = (batch[0].clone().requires_grad_() for _ in range(2))
    found, expected = compiled(left, batch[1]), loss(right, batch[1])
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    found.backward()
    expected.backward()
    torch.testing.assert_close(left.grad, right.grad)


class Step(torch.nn.Module):
    """A network and its loss, as a training step compiles them."""

    def __init__(self, name, **options):
        super().__init__()
        torch.manual_seed(0)
        self.network = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 1)
        )
        self.loss = losses.build(name, **options)

    def forward(self, image, target):
        return self.loss(self.network(image), target)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("name", ["gdf", "blob-gdf", "ici", "false", "proximity", "cc-dice-ce", "tversky-hausdorff"])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_a_training_step_through_inductor(name, activation):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 1, 24, 20, generator=generator)
    lesion = torch.zeros(2, 1, 24, 20)
    lesion[:, :, 3:6, 3:6] = lesion[1, :, 12:15, 9:14] = 1
    target = torch.cat([1 - lesion, lesion], 1)
    step, plain = Step(name, activation=activation), Step(name, activation=activation)
    compiled = torch.compile(step)
    for _ in range(2):
        found, expected = compiled(images, target), plain(images, target)
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)
        found.backward()
        expected.backward()
    for left, right in zip(step.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(left.grad, right.grad, rtol=1e-4, atol=1e-6)


@needs_compiler
@pytest.mark.slow
def test_a_graph_does_not_outlive_other_shapes():
    loss = torch.compile(losses.build("blob-gdf"))
    for shape in ((1, 1, 16, 16), (2, 1, 24, 20), (1, 1, 8, 8, 8)):
        target = torch.zeros(shape)
        target[..., 2:4, 2:4] = 1
        assert loss(torch.zeros(shape), target).item() == losses.build("blob-gdf")(torch.zeros(shape), target).item()
