"""Print a comparison as tables, and draw it."""

from matplotlib.figure import Figure
from rich.table import Table

from metaloop.plots import draw_differences
from metaloop.plots.comparison import Bar
from metaloop.plots.names import last_step_name, metric_name
from metaloop.run.comparison.compare import ALPHA, Comparison, Row
from metaloop.user_text import Terminal, say

READ = """\
For {metric}, {better}. Each interval is for one comparison; p is
corrected for all in its table, and decides if it is below {alpha}. Over seeds:
generalises to other seeds. Over episodes: generalises to other episodes, for
these learners only ({interval} interval)."""
DIRECTIONS = {"max": "higher is better", "min": "lower is better"}


def print_comparison(found: Comparison) -> None:
    """Print a table over seeds, if there are any, and one over episodes."""
    console = Terminal()
    for over in dict.fromkeys(row.over for row in found.rows):
        table = Table(title=f"{_describe_values(found)}, paired over {over}")
        table.add_column("learners", overflow="fold")
        for column in ("mean", "A - B, 95 % interval\nCohen's d, pairs", "p (Holm)"):
            table.add_column(column, no_wrap=True)
        for row in found.rows:
            if row.over == over:
                table.add_row(*_cells(row))
        console.print(table)
    metric, better = metric_name(found.metric), _describe_direction(found)
    say(READ.format(metric=metric, better=better, alpha=ALPHA, interval=found.interval))
    for path in found.left_out:
        say(f"Left out, since the other learner of a pair has no run with its seed: {path}")


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


def _cells(row: Row) -> tuple[str, ...]:
    """Write a row's cells, two lines each: the learners, difference and effect, p and verdict."""
    mean, half_width, effect, _, pairs = row.difference
    size = "none" if effect is None else f"{effect:.2f}"
    return (
        f"A {row.a}\nB {row.b}",
        f"{row.means[0]:.4f}\n{row.means[1]:.4f}",
        f"{mean:.4f} +/- {half_width:.4f}\nd {size}, {pairs} {row.over}",
        f"{row.p:.2g}\n{f'{row.better} is better' if row.better else 'undecided'}",
    )


def _describe_values(found: Comparison) -> str:
    """Describe the compared values: query loss after inner step 5."""
    return f"{metric_name(found.metric)} {last_step_name(found.inner_steps)}"


def _describe_direction(found: Comparison) -> str:
    return DIRECTIONS.get(found.mode or "", "the metric does not define which is better")
