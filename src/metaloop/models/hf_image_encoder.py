"""A Hugging Face encoder of images as learner; requires transformers."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from metaloop.arguments import Count, Positive
from metaloop.models.hf_encoder import make_encoder
from metaloop.models.images import require_images


class HFImageEncoder(nn.Module):
    """Any encoder of images of transformers' AutoModel, the mean over positions, a linear head.

    Args:
        input_shape: (channels, height, width).
        output_size: the ways.
        pretrained: a folder or name to load; None initialises randomly.
        architecture: arguments of transformers' AutoConfig for a random encoder; image_size and
            num_channels are the task's.
        mean, std: subtracted from the pixels, and what they are divided by: one for all channels,
            or one each. Those of a pretrained encoder are in its preprocessor_config.json.

    Raises:
        UserError: if transformers is missing or knows no such encoder, or inputs are not images.

    Shapes:
        x [rows, channels, height, width]; the result [rows, output_size]

    Examples:
        >>> import torch
        >>> from metaloop import HFImageEncoder
        >>> architecture = {"model_type": "vit", "hidden_size": 8, "num_hidden_layers": 1}
        >>> architecture |= {"num_attention_heads": 2, "intermediate_size": 8, "patch_size": 4}
        >>> network = HFImageEncoder(
        ...     (3, 8, 8), 5, pretrained=None, architecture=architecture, mean=[0.5], std=[0.5]
        ... )
        >>> network(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 5])

    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        input_shape: tuple[int, ...],
        output_size: Count,
        *,
        pretrained: str | None,
        architecture: Mapping[str, object],
        mean: Sequence[float],
        std: Sequence[Positive],
    ) -> None:
        super().__init__()
        channels = require_images("HFImageEncoder", input_shape)
        _, height, width = input_shape
        side = height if height == width else [height, width]
        sizes = {"image_size": side, "num_channels": channels}
        self.body, config = make_encoder(pretrained, {**sizes, **architecture})
        size = getattr(config, "hidden_size", None) or config.hidden_sizes[-1]
        self.head = nn.Linear(int(size), output_size)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.body(pixel_values=(x - self.mean) / self.std)[0]
        # [rows, positions, width], or of convolutions [rows, width, height, width]
        pooled = hidden.mean(1) if hidden.ndim == 3 else hidden.mean((2, 3))
        outputs: Tensor = self.head(pooled)
        return outputs
