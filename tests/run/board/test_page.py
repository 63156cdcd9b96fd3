"""The board's page has a row for each published value, and the origin of each that was run."""

from metaloop.run.board.page import page

PUBLISHED = {"mean": 0.9, "ci95": 0.01, "source": "A 2017", "note": None}
RUN = {
    "meta_steps": 100,
    "meta_steps_asked": 60000,
    "commit": "abc",
    "is_modified": True,
    "machine": {"gpus": [], "cpu": "a cpu", "cpu_cores": 2},
    "versions": {"torch": "2.13.0"},
}
SEED = {"mean": 0.88, "ci95": 0.02, "interval": "closed"}
ROW = {
    "preset": "a/omniglot",
    "metric": "accuracy",
    "inner_step": 3,
    "published": PUBLISHED,
    "ours": {"mean": 0.88, "ci95_over_seeds": None, "seeds": {"0": SEED}},
    "verdict": "agrees",
    "command": "metaloop-reproduce a/omniglot",
    "runs": {"0": RUN},
    "reason": "cut short",
}
UNRUN = {**ROW, "preset": "a/sinusoid", "ours": None, "verdict": "not run", "runs": {}}


def table(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_a_row_says_what_was_published_and_what_was_found():
    (cells,) = table(page("The rule.", [ROW]))
    assert cells == [
        "`a/omniglot`",
        "accuracy after 3",
        "90.00 +/- 1.00 % (A 2017)",
        "88.00 %",
        "88.00 +/- 2.00 % (closed)",
        "100 of 60,000",
        "agrees: cut short",
    ]


def test_what_has_not_run_comes_last_and_has_no_origin():
    text = page("The rule.", [UNRUN, ROW])
    assert [cells[0] for cells in table(text)] == ["`a/omniglot`", "`a/sinusoid`"]
    assert "2 published values: 1 agrees, 0 above, 0 below." in text
    assert "## a/sinusoid" not in text
    assert "- seed 0: commit abc with changes; 2 cores of a cpu; torch 2.13.0" in text
