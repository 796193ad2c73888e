"""Leave a torchvision that imports beside the installed torch.

timm and segmentation_models_pytorch import torchvision. The release that pip picks for torch 2.13.0 carries CUDA
operators; beside a CPU build of torch it fails on import (`operator torchvision::nms does not exist`). 0.16.2 is the
last one that imports without its operators, of which nothing here uses any. Where the pair fits already, as on a GPU
machine or with the wheels of https://pytorch.org/get-started/locally, nothing is changed.
"""

import subprocess
import sys

LAST_TOLERANT = "torchvision==0.16.2"


def imports() -> bool:
    """Return whether a fresh interpreter can import torchvision."""
    command = [sys.executable, "-W", "ignore", "-c", "import torchvision"]
    return subprocess.run(command, capture_output=True).returncode == 0


def main() -> int:
    """Check, repair, check again."""
    if imports():
        return 0
    import torch

    if torch.version.cuda is None and sys.version_info < (3, 12):
        print(f"torchvision does not fit the CPU build of torch; installing {LAST_TOLERANT} without dependencies")
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", LAST_TOLERANT], check=True)
        if imports():
            return 0
    print(
        "torchvision does not fit the installed torch; install the matching pair from "
        "https://pytorch.org/get-started/locally",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
