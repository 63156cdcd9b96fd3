"""The contract of a norm mode: where the batch norms take their statistics from."""

from abc import ABC
from collections.abc import Callable
from typing import ClassVar, Literal

from torch import Tensor

from metaloop.episode import Inputs
from metaloop.errors import UserError

NormModeName = Literal["transductive", "inductive", "support_plus_one", "frozen", "per_step"]
# (inputs, rows) -> outputs; the norms' statistics come from the first `rows` rows, None: from all
Predict = Callable[[Inputs, int | None], Tensor]


class NormMode(ABC):
    """One object per mode; `NORM_MODES` finds them by name.

    Attributes:
        name: its name in configs and protocols.
        stores: whether statistics are stored, to be used in training or evaluation.
        tracks_path: whether meta-training stores the statistics of every inner step.
        for_one_example: the mode to use instead when examples are predicted one at a time.

    """

    name: ClassVar[NormModeName]
    stores: ClassVar[bool] = False
    tracks_path: ClassVar[bool] = False

    @property
    def for_one_example(self) -> NormModeName:
        return self.name

    def reads_stored(self, *, is_training: bool) -> bool:
        """Check whether the norms use stored statistics, in training or in evaluation."""
        return False

    def rows_stored(self, inner_steps: int) -> int:
        """Count the rows of statistics that a gradient-based algorithm stores for each norm."""
        return 0

    def predict_query(self, predict: Predict, support: Inputs, query: Inputs) -> Tensor:
        """Predict a query set, together with the support set if its statistics count."""
        return predict(query, None)

    def rows_at_once(self, rows: int, support: int, at_most: int) -> int:
        """Count the query examples, of `rows`, that may be predicted in one pass."""
        return at_most

    def require_fixed(self, *, has_support: bool) -> None:
        """Refuse to export a network whose statistics depend on its inputs.

        Raises:
            UserError: if they do, with a remedy.

        """
        if not has_support:
            raise UserError(
                f"With norm_mode={self.name} the norms have no statistics without a support set, "
                "so the learner alone cannot be exported. Export an adapted learner, or one "
                "with norm_mode=frozen or per_step, or without batch norms."
            )
        raise UserError(
            f"With norm_mode={self.name} a prediction depends on statistics of the inputs that "
            "are predicted, so it cannot be exported. Use norm_mode=inductive: the support set's "
            "statistics then become part of the network."
        )
