"""Print a comparison as tables, and draw it."""

from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure
from rich.table import Table

from metaloop.plots import draw_differences
from metaloop.plots.comparison import Bar
from metaloop.plots.names import DIRECTIONS, last_step_name, metric_name
from metaloop.run.comparison.compare import ALPHA, Comparison, Row
from metaloop.user_text import Terminal, say

READ = """\
For {metric}, {better}. Each interval is for one comparison; p is
corrected for all in its table, and decides if it is below {alpha}. Over seeds:
generalises to other seeds. Over episodes: generalises to other episodes, for
these learners only ({interval} interval)."""
FEW = 3  # undecided comparisons that are named one by one


def print_comparison(found: Comparison) -> None:
    """Print a table over seeds, if there are any, and one over episodes; then the result."""
    console = Terminal()
    families = [[r for r in found.rows if r.over == over] for over in ("seeds", "episodes")]
    for rows in filter(None, families):
        console.print(_tabulate(rows, f"{_describe_values(found)}, paired over {rows[0].over}"))
    metric, better = metric_name(found.metric), _describe_direction(found)
    say(READ.format(metric=metric, better=better, alpha=ALPHA, interval=found.interval))
    for path in found.left_out:
        say(f"Left out, since the other learner of a pair has no run with its seed: {path}")
    for rows in families:
        for sentence in _conclude(rows, metric, found.mode):
            say(sentence)


def draw_comparison(found: Comparison) -> Figure:
    """Draw each difference with its interval."""
    differences = {
        f"{row.a} - {row.b}\nover {row.difference.pairs} {row.over}": Bar(
            *row.difference[:2], f"95 % interval over {row.over}"
        )
        for row in found.rows
    }
    axis_title = f"difference in {metric_name(found.metric)} ({_describe_direction(found)})"
    title = f"{found.learners}\n{_describe_values(found)}: paired differences"
    return draw_differences(differences, axis_title, title)


def _tabulate(rows: Sequence[Row], title: str) -> Table:
    """Tabulate comparisons, each in two lines: A with the difference, and B."""
    table = Table(title=title)
    table.add_column("learner", overflow="fold")
    for name in ("mean", "A - B,\n95 % interval", "Cohen's\nd", "pairs", "p\n(Holm)"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        mean, half_width, effect, _, pairs = row.difference
        size = "none" if effect is None else f"{effect:.2f}"
        difference = f"{mean:.4f} +/- {half_width:.4f}"
        cells = (f"{row.means[0]:.4f}", difference, size, str(pairs), f"{row.p:.2g}")
        table.add_row(f"A {row.a}", *cells)
        table.add_row(f"B {row.b}", f"{row.means[1]:.4f}", end_section=True)
    return table


def _conclude(rows: Sequence[Row], metric: str, mode: str | None) -> Iterator[str]:
    """Say which learners differ and by how much, and which cannot be told apart."""
    undecided = [row for row in rows if row.p >= ALPHA]
    for row in rows:
        mean, half_width, _, _, pairs = row.difference
        size = f"{abs(mean):.4f} +/- {half_width:.4f} in {metric}"
        source = f"(95 % interval over {pairs} {row.over}, p {row.p:.2g})"
        if row.p < ALPHA:
            first, other = (row.a, row.b) if (mean > 0) == (mode != "min") else (row.b, row.a)
            which = "has the larger value than" if mode is None else "is better than"
            yield f"{first} {which} {other}, by {size} {source}."
        elif len(undecided) <= FEW:
            yield (
                f"Nothing can be said about {row.a} and {row.b}: they differ by {size} {source}."
            )
    if len(undecided) > FEW:
        told = f"{len(undecided)} of {len(rows)} pairs of learners over {rows[0].over}"
        yield f"Nothing can be said about {told}: their p is {ALPHA} or more."


def _describe_values(found: Comparison) -> str:
    """Describe the compared values: query loss after inner step 5."""
    return f"{metric_name(found.metric)} {last_step_name(found.inner_steps)}"


def _describe_direction(found: Comparison) -> str:
    return DIRECTIONS.get(found.mode or "", "the metric does not define which is better")
