"""The input check shared by networks for vectors of real numbers."""

from metaloop.errors import UserError


def require_real(model: str, vocabulary_size: int) -> None:
    """Refuse the tokens of a text as inputs.

    Raises:
        UserError: if the task's inputs are tokens of a text.

    """
    if vocabulary_size:
        raise UserError(
            f"{model} needs real inputs, but the task's inputs are tokens of a text. Choose "
            "model=word_attention, or model=hf_encoder."
        )
