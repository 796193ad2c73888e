"""`python -m multifocal` is `multifocal`."""

from multifocal.cli import run

if __name__ == "__main__":
    run()
