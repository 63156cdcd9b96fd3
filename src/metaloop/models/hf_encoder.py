"""A Hugging Face encoder as learner; requires transformers (pip install 'metaloop[hf]')."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor, nn

from metaloop.arguments import Count, CountOrZero
from metaloop.errors import UserError
from metaloop.models.word_attention import require_tokens

MASKED_ATTENTION = "metaloop_masked_attention"  # name under which transformers knows it


class HFEncoder(nn.Module):
    """Any encoder of transformers' AutoModel, the mean of its outputs over tokens, a linear head.

    Uses torch's attention, which metaloop computes exactly, and always with a mask. Transformers
    omits the mask if nothing is padded, but that test reads a value in Python, which vmap refuses.
    Encoders that only support their own attention keep it; the check before the first step then
    finds out whether they can be vectorised.

    Args:
        output_size: the ways.
        vocabulary_size: number of the task's token ids: 0 is padding, t > 0 is the encoder's token
            t - 1.
        pretrained: a folder or name to load, whose tokenizer the task must use; None initialises
            randomly.
        architecture: arguments of transformers' AutoConfig for a random encoder.

    Raises:
        UserError: if transformers is missing or knows no such encoder, or the task's inputs are no
            tokens, or not the encoder's.

    Shapes:
        input_ids       [rows, tokens]  the task's token ids; the encoder's if there is a mask
        attention_mask  [rows, tokens]  0 where a sentence is padded (task.mask=true)

    Examples:
        >>> import torch
        >>> from metaloop import HFEncoder
        >>> architecture = {"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1}
        >>> architecture |= {"num_attention_heads": 2, "intermediate_size": 8}
        >>> network = HFEncoder(5, 100, pretrained=None, architecture=architecture)
        >>> network(torch.tensor([[4, 9, 30, 0]])).shape  # three tokens and padding
        torch.Size([1, 5])

    """

    def __init__(
        self,
        output_size: Count,
        vocabulary_size: CountOrZero,
        *,
        pretrained: str | None,
        architecture: Mapping[str, object],
    ) -> None:
        super().__init__()
        require_tokens("HFEncoder", vocabulary_size)
        tokens = {"vocab_size": vocabulary_size - 1}
        self.body, config = make_encoder(pretrained, {**tokens, **architecture})
        known = int(config.vocab_size)
        if known < vocabulary_size - 1:
            raise UserError(
                f"The encoder {pretrained} knows {known} tokens, but the task's sentences have up "
                f"to {vocabulary_size - 1}. Set task.tokenizer={pretrained} and "
                f"task.vocabulary_size={known + 1}."
            )
        self.head = nn.Linear(int(config.hidden_size), output_size)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        mask = attention_mask
        if mask is None:
            mask, input_ids = (input_ids > 0).long(), (input_ids - 1).clamp(min=0)
        hidden: Tensor = self.body(input_ids=input_ids, attention_mask=mask)[0]
        weights = mask.to(hidden.dtype)[..., None]
        outputs: Tensor = self.head((weights * hidden).sum(1) / weights.sum(1).clamp(min=1))
        return outputs


class Config(Protocol):
    """What an encoder of transformers says of itself; one of images may have several widths."""

    vocab_size: int
    hidden_size: int
    hidden_sizes: Sequence[int]


def make_encoder(
    pretrained: str | None, architecture: Mapping[str, object]
) -> tuple[nn.Module, Config]:
    """Create an encoder, pretrained or of an architecture; return it with its config.

    Raises:
        UserError: if transformers is missing, or knows no such encoder.

    """
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError as error:
        raise UserError(
            "An encoder of Hugging Face needs the package transformers. Install it with pip "
            "install 'metaloop[hf]', or choose another model, for sentences model=word_attention."
        ) from error

    def make(attention: str) -> tuple[nn.Module, Config]:
        if pretrained is not None:
            made = AutoModel.from_pretrained(pretrained, attn_implementation=attention)
        else:
            config = AutoConfig.for_model(**architecture)
            made = AutoModel.from_config(config, attn_implementation=attention)
        return made, made.config

    _register_attention()
    try:
        try:
            return make(MASKED_ATTENTION)
        except (ValueError, KeyError):  # it only supports its own attention
            return make("eager")
    except (OSError, ValueError, TypeError, KeyError) as error:
        what = "model.architecture" if pretrained is None else f"model.pretrained={pretrained}"
        first_line = str(error).strip().splitlines()[0]
        raise UserError(f"{what} does not give a transformers encoder: {first_line}") from error


def _register_attention() -> None:
    """Register torch's attention, with a mask that is never omitted, with transformers."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import eager_mask

    def make_mask(*args: object, **kwargs: object) -> Tensor:
        # an additive mask, which encoders with their own attention accept too
        mask: Tensor = eager_mask(*args, **{**kwargs, "allow_is_bidirectional_skip": False})
        return mask

    AttentionInterface.register(MASKED_ATTENTION, sdpa_attention_forward)
    AttentionMaskInterface.register(MASKED_ATTENTION, make_mask)
