"""Colours: names that the style sheet knows, and the values they have on white paper.

The arms' hues are those of Okabe and Ito, darkened until each stands out 3:1 from white; they differ for every common
kind of colour vision, and position, label and dash say the same again.
"""

PAPER = {
    "ink": "#1a1d21",
    "soft": "#5c636b",
    "rule": "#d9dde1",
    "found": "#00875f",
    "missed": "#0072b2",
    "false": "#d55e00",
    "arm-0": "#0072b2",
    "arm-1": "#d55e00",
    "arm-2": "#00875f",
    "arm-3": "#b0508c",
    "arm-4": "#2b94d0",
    "arm-5": "#9a7400",
    "arm-6": "#5c636b",
    "arm-7": "#8a4b1f",
}
ARMS = 8  # colours; further arms begin again, with another dash
Dash = str | tuple[float, tuple[float, ...]]
DASHES: tuple[Dash, ...] = ("solid", (0, (5, 1.6)), (0, (1.4, 1.4)))

# What matplotlib draws with: values that occur nowhere else, so that they can be told apart in its SVG.
MARKS = {name: f"#01ab{index:02x}" for index, name in enumerate(PAPER)}
INK, SOFT, RULE = MARKS["ink"], MARKS["soft"], MARKS["rule"]


def arm_name(index: int) -> str:
    """Return the colour's name for the arm of that number."""
    return f"arm-{index % ARMS}"


def arm_colour(index: int) -> str:
    """Return what matplotlib draws the arm of that number with."""
    return MARKS[arm_name(index)]


def arm_dash(index: int) -> Dash:
    """Return the line style of the arm of that number."""
    return DASHES[index // ARMS % len(DASHES)]
