"""How long a training step of a network takes."""

import statistics
import time
from collections.abc import Sequence

import torch
from torch import nn

from multifocal import losses
from multifocal.errors import out_of_memory

LOSS = "dice-ce"


def step_seconds(network: nn.Module, size: Sequence[int], *, device: torch.device, in_channels: int = 1) -> float:
    """Return the time of a training step: forward, loss (dice-ce), backward, AdamW. The median of 3, after one.

    Args:
        network: it is trained a little by this.
        size: of the image, voxels along each axis; a batch is one image.
        device: what computes.
        in_channels: channels of the image.

    Returns:
        Seconds.

    Raises:
        UserError: the network refuses the size, or there is not enough memory for it.

    Example:
        >>> step_seconds(nn.Conv2d(1, 1, 3, padding=1), (8, 8), device=torch.device("cpu")) > 0
        True
    """
    network = network.to(device).train()
    loss, optimizer = losses.build(LOSS), torch.optim.AdamW(network.parameters())
    images = torch.rand(1, in_channels, *size, device=device)
    target = (torch.rand(1, 1, *size, device=device) < 0.01).float()  # about a hundredth of it is lesion
    times = []
    try:
        for _ in range(4):
            started = time.perf_counter()
            optimizer.zero_grad()
            loss(network(images), target).backward()
            optimizer.step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - started)
    except (RuntimeError, MemoryError) as error:
        short = out_of_memory(error, "choose a smaller --size")
        if short is None:
            raise
        raise short from error
    return statistics.median(times[1:])
