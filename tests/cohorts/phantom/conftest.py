"""A brain to scan and to injure."""

import pytest

from multifocal.cohorts.phantom.brain import Brain, generator, make_brain


@pytest.fixture(scope="session")
def head() -> Brain:
    return make_brain(generator(0, 9))
