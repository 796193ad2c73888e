"""Five hundred recipes with something wrong: each is taken, or refused in one line that names the file."""

import random
from collections import Counter

import pytest

from multifocal import recipes
from multifocal.errors import UserError

COUNT = 500
VALUES = (
    "null", "true", "-1", "0", "1e999", ".nan", "''", "[]", "{}", "[[[]]]", "2026-11-26", "!!python/object:os.system x",
    "&a [*a]", "'" + "x" * 5000 + "'", "99999999999999999999999", "0x1F", "1_000", "\N{SNOWMAN}", "{a: {b: {c: 1}}}",
    "\x00",
)  # fmt: skip


def damaged(text, chance):
    """Return the text with one to three lines changed."""
    lines = text.splitlines()
    for _ in range(chance.choice((1, 1, 2, 3))):
        at = chance.randrange(len(lines))
        key, colon, value = lines[at].partition(":")
        match chance.choice(("value", "value", "key", "drop", "twice", "indent", "bytes", "join")):
            case "value" if colon:
                lines[at] = f"{key}: {chance.choice(VALUES)}"
            case "key" if colon and key.strip():
                swapped = list(key)
                swapped[chance.randrange(len(swapped))] = chance.choice("xyz_-. ")
                lines[at] = "".join(swapped) + colon + value
            case "drop":
                del lines[at]
            case "twice":
                lines.insert(at, lines[at])
            case "indent":
                lines[at] = " " * chance.randrange(9) + lines[at].lstrip()
            case "bytes":
                lines[at] = lines[at] + chance.choice(("\t", "{", "]", "'", '"', "#", ": :", "%", "@", "`", "|", ">"))
            case "join":
                lines[at] = lines[at] + chance.choice(lines)
        lines = lines or [""]
    return "\n".join(lines)


@pytest.mark.slow
def test_five_hundred_damaged_recipes(tmp_path):
    counts = Counter()
    sources = [recipes.dump(recipes.load(name)) for name in recipes.names()]
    for seed in range(COUNT):
        chance = random.Random(seed)
        path = tmp_path / f"{seed}.yaml"
        path.write_text(damaged(chance.choice(sources), chance), encoding="utf-8")
        try:
            recipe = recipes.load(path)
        except UserError as error:
            counts["refused"] += 1
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error) and len(str(error)) < 20000
            continue
        counts["taken"] += 1
        again = tmp_path / "again.yaml"
        again.write_text(recipes.dump(recipe), encoding="utf-8")
        assert recipes.load(again) == recipe
    print(dict(counts))
    assert sum(counts.values()) == COUNT
