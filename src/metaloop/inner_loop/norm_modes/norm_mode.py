"""The contract of a norm mode: whose statistics the batch norms take."""

from abc import ABC
from collections.abc import Callable
from typing import ClassVar, Literal

from torch import Tensor

from metaloop.episode import Inputs
from metaloop.errors import UserError

NormModeName = Literal["transductive", "inductive", "support_plus_one", "frozen", "per_step"]
# (inputs, rows) -> outputs, the norms' statistics those of the first rows; None: of all
Predict = Callable[[Inputs, int | None], Tensor]


class NormMode(ABC):
    """One object a mode; `NORM_MODES` has them by name.

    Attributes:
        name: as configs and protocols write it.
        stores: whether statistics are stored, by which the norms normalise at some time.
        tracks_path: whether meta-training stores what the norms meet at every inner step.
        for_one_example: the mode that judges a single example, by itself, in this mode's place.

    """

    name: ClassVar[NormModeName]
    stores: ClassVar[bool] = False
    tracks_path: ClassVar[bool] = False

    @property
    def for_one_example(self) -> NormModeName:
        return self.name

    def reads_stored(self, *, is_training: bool) -> bool:
        """Whether the norms normalise by stored statistics, in training or in evaluation."""
        return False

    def rows_stored(self, inner_steps: int) -> int:
        """Count the rows of statistics that a gradient-based algorithm stores for each norm."""
        return 0

    def predict_query(self, predict: Predict, support: Inputs, query: Inputs) -> Tensor:
        """Predict a query set, next to the support set where its statistics count."""
        return predict(query, None)

    def rows_at_once(self, rows: int, support: int, at_most: int) -> int:
        """Say how many of `rows` query examples may be predicted at a time."""
        return at_most

    def require_fixed(self, *, has_support: bool) -> None:
        """Refuse to export a network whose statistics depend on what it is given.

        Raises:
            UserError: they do, with the way out.

        """
        if not has_support:
            raise UserError(
                f"With norm_mode={self.name} the norms have no statistics before there is a "
                "support set, so that the learner by itself cannot be exported. Export an adapted "
                "one, or a learner with norm_mode=frozen or per_step, or without batch norms."
            )
        raise UserError(
            f"With norm_mode={self.name} a prediction depends on what the norms measure on the "
            "very inputs to be predicted, so that it cannot be exported. Take "
            "norm_mode=inductive: the support set's statistics are then part of the network."
        )
