import math

import numpy as np

from multifocal.reports.cases.page import Parts, Score
from multifocal.reports.cases.parts import COLOURS, part_colour, part_lines, part_tiles
from multifocal.reports.cases.pictures import Slice, Tile

TRUE = ("truth", "M0 0v1", "true outline")
ROW = {"dice": 0.5, "nsd": math.nan, "f1": 1.0, "true_lesions": 2, "missed": 1, "predicted_lesions": 3, "false": 2}


def tile(*paths):
    return Tile("slice.png", (4, 4), (1.0, 1.0), paths)


def predicted(path):
    return tile(TRUE, ("prediction", path, "predicted outline"))


def test_means_leave_out_what_is_undefined_and_counts_add_up():
    whole, part, none = part_lines("all", [ROW, ROW | {"nsd": 0.5}], {"a": [ROW], "b": []})
    assert (whole.name, whole.colour, whole.counts) == ("all", "prediction", (6, 2, 2, 4))
    assert whole.scores == {"dice": 0.5, "nsd": 0.5, "f1": 1.0}
    assert part.colour == "part-0" and math.isnan(part.scores["nsd"])
    assert none.counts is None and np.isnan([*none.scores.values()]).all()


def test_further_parts_begin_the_colours_again():
    assert [part_colour(number) for number in (0, COLOURS - 1, COLOURS)] == ["part-0", f"part-{COLOURS - 1}", "part-0"]


def test_all_outlines_are_in_the_first_picture_and_a_parts_own_in_the_others():
    arms = {"all": predicted("M1 1"), "all/a": predicted("M2 2"), "all/b": None, "all/c": tile(TRUE)}
    together, a, b, c = part_tiles(Slice(0, tile(TRUE), arms, {}), "all", ["a", "b", "c"])
    assert together.paths == (TRUE, ("part-0", "M2 2", "a"), ("prediction", "M1 1", "all"))
    assert a.paths == (TRUE, ("part-0", "M2 2", "a")) and b is None and c.paths == (TRUE,)


def test_an_arm_may_have_the_name_of_its_part():
    part = Score(0, "boxes", None, ROW | {"dice": 0.25}, None)
    of = Parts.of(Score(3, "boxes", None, ROW, None, (part,)), [])
    assert [(line.name, line.scores["dice"]) for line in of.lines] == [("boxes", 0.5), ("boxes", 0.25)]
