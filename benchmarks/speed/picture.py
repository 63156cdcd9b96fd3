"""Draw the peers' speeds: a panel per work, a bar per peer."""

import statistics
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl


def ratios(seconds: Mapping[str, list[float]], who: str, base: str) -> list[float]:
    """Return the speed relative to the base, one number per round."""
    return [b / v for b, v in zip(seconds[base], seconds[who], strict=False)]


def base_of(seconds: Mapping[str, list[float]]) -> str:
    """Return the peer whose speed is 1."""
    return "learn2learn" if "learn2learn" in seconds else "plain loop"


def draw(works: Mapping[str, Mapping[str, list[float]]], path: Path) -> None:
    """Draw median speeds, with a line from the slowest to the fastest round; ours in colour."""
    mpl.use("agg")
    from matplotlib import pyplot as plt

    height = 1 + 0.3 * max(map(len, works.values()))
    figure, panels = plt.subplots(1, len(works), figsize=(3.4 * len(works), height), squeeze=False)
    for panel, (work, seconds) in zip(panels[0], works.items(), strict=True):
        base = base_of(seconds)
        speeds = {who: ratios(seconds, who, base) for who in seconds}
        order = sorted(speeds, key=lambda who: statistics.median(speeds[who]))
        middle = [statistics.median(speeds[who]) for who in order]
        colors = ["C0" if who.startswith("metaloop") else "0.75" for who in order]
        panel.barh(order, middle, color=colors)
        for who, speed in zip(order, middle, strict=True):
            panel.text(max(speeds[who]), who, f"  {speed:.3g}", va="center", fontsize=8)
        panel.margins(x=0.4)
        panel.hlines(order, [min(speeds[w]) for w in order], [max(speeds[w]) for w in order], "0.2")
        panel.axvline(1, color="0.4", linewidth=0.8)
        panel.set_title(work, fontsize=10)
        panel.set_xlabel(f"speed, {base} = 1")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
