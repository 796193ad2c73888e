"""Denoising pretraining: a network learns to find noise that is weaker around lesions (`training.denoise`).

As the second-ranked team of the BONBID-HIE challenge 2023 (XLERATOR9) did: label-aware denoising, noise of σ 0.8 in the
lesions grown by a random margin and 1.5 elsewhere, γ 0.95, squared error of the predicted noise. The mixture is that of
Brempong et al. 2022 (Denoising Pretraining for Semantic Segmentation); how far the margin goes is our choice.
"""

import torch
from torch.nn import functional

from multifocal.systems.network_recipe import Denoising

TERM = "noise"


def add_noise(images: torch.Tensor, target: torch.Tensor, settings: Denoising) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `√γ · x + √(1 - γ) · n` and the noise `n = σ · ε` of a batch, ε ~ N(0, 1) by torch's own generator.

    Args:
        images: `(B, C, *spatial)`, as the network takes them.
        target: `(B, K, *spatial)`; what is above 0 is lesion.
        settings: σ, γ and the margin.

    Returns:
        The noisy images and the noise, of the shape of the images.

    Example:
        >>> images, target = torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4)
        >>> noisy, noise = add_noise(images, target, Denoising(gamma=0.75))
        >>> torch.allclose(noisy, 0.5 * noise)
        True
    """
    spread = torch.where(_grown(target, settings.margin), settings.lesion_std, settings.other_std)
    noise = spread.to(images) * torch.randn_like(images)
    return settings.gamma**0.5 * images + (1 - settings.gamma) ** 0.5 * noise, noise


def noise_error(predicted: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error of the predicted noise.

    Args:
        predicted: what the network says, `(B, C, *spatial)`.
        noise: what `add_noise` returned.

    Returns:
        A scalar.

    Example:
        >>> float(noise_error(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 3.0)))
        9.0
    """
    return functional.mse_loss(predicted, noise)


def _grown(target: torch.Tensor, most: int) -> torch.Tensor:
    """Return the lesions `(B, 1, *spatial)`, those of each image grown by its own margin of 0 to `most` voxels."""
    lesions = (target > 0).any(dim=1, keepdim=True).float()
    pool = functional.max_pool2d if target.ndim == 4 else functional.max_pool3d
    margins = torch.randint(most + 1, (len(target),)).tolist()
    grown = [pool(one[None], 2 * by + 1, stride=1, padding=by) for one, by in zip(lesions, margins, strict=True)]
    return torch.cat(grown) > 0
