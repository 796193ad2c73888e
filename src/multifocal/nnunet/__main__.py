"""Print the folder of our trainers, for nnU-Net's variable `nnUNet_extTrainer`."""

import sys

from multifocal.nnunet import TRAINERS

if __name__ == "__main__":
    sys.stdout.write(f"{TRAINERS}\n")
