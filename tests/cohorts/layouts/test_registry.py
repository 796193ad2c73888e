from dataclasses import replace

import pytest

from multifocal.cohorts import layout_names, open_cohort
from multifocal.cohorts.layouts import every, get, register
from multifocal.errors import UserError


def test_a_name_is_taken_once():
    with pytest.raises(ValueError, match="'nnunet' is taken"):
        register("nnunet", needs="nothing", matches=lambda root: True)(lambda found: None)
    assert get("nnunet").read.__module__.endswith("nnunet")


def test_an_unknown_layout_lists_the_choices(tmp_path):
    with pytest.raises(UserError, match=r"unknown layout 'nnunett'; did you mean 'nnunet'.*bonbid-hie, images2d"):
        open_cohort(tmp_path, layout="nnunett")


def test_every_layout_has_a_name_and_needs():
    assert tuple(layout.name for layout in every()) == layout_names() == tuple(sorted(layout_names()))
    assert all(layout == replace(layout) and layout.needs for layout in every())
