"""A legend lies under the axis and its label."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from metaloop.plots.legend import put_legend_below


def test_a_legend_hides_neither_curve_nor_label():
    figure = Figure(layout="constrained")
    axis = figure.subplots()
    for number in range(4):
        axis.plot([0, 1], [0, number], label=f"curve {number}")
    axis.set_xlabel("meta-step")
    put_legend_below(axis)
    FigureCanvasAgg(figure).draw()
    legend, label = axis.get_legend().get_window_extent(), axis.xaxis.label.get_window_extent()
    assert legend.y1 < label.y0
    assert legend.y0 > 0  # within the picture
