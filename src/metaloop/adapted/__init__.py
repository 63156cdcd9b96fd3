"""A trained learner on somebody's own examples."""

from metaloop.adapted.adapted import Adapted, adapt_to
from metaloop.adapted.arrays import Array, Arrays, Labels
from metaloop.adapted.ways import Head, fit_ways

__all__ = ["Adapted", "Array", "Arrays", "Head", "Labels", "adapt_to", "fit_ways"]
