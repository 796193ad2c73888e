"""The demo: the main job, start to end, on synthetic scans."""

import children

from multifocal.cohorts import Folds


def test_a_folder_in_use_is_left_alone(multifocal, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "mine.txt"):
        ended = multifocal("demo", "--out", out)
        assert ended.code == 2 and ended.out == ""
        assert ended.err == f"error: {out}: is not an empty folder; choose another one with --out, or remove it\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_shortest_demo(processes, tmp_path):
    out = tmp_path / "demo"
    arguments = ["demo", "--out", str(out), "--cases", "10", "--epochs", "1"]
    process = processes.Process(target=children.command, args=(arguments, tmp_path / "screen"))
    process.start()
    process.join()
    said = (tmp_path / "screen.out").read_text()
    told = (tmp_path / "screen.err").read_text()  # outside a terminal, a line an epoch
    assert process.exitcode == 0 and told.startswith("epoch 1 of 1: loss ") and told.count("\n") == 1
    steps = [line[:4] for line in said.splitlines() if line[1:3] == "/7"]
    assert steps == [f"{step}/7 " for step in range(1, 8)]
    page = out / "study/report/index.html"
    assert said.count("share of brain") == 3 and page.is_file()
    assert said.endswith(f"done: masks and scores are in {out}/; open in a browser: {page}\n")
    test = Folds.load(out / "folds.json").folds[0].test
    for name in ("hie-small", "hie-synthetic", "zadc-threshold"):
        assert len(list((out / f"masks-{name}").glob("*_lesion.mha"))) == len(test)
        assert (out / f"scores-{name}" / "cases.csv").read_text().count("\n") == 1 + len(test)
