"""Small networks of other libraries with random weights and three outputs.

Each factory imports its package, so that networks of missing packages can be left out.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module

import torch
from torch import Tensor, nn

IMAGE, WORDS = (3, 32, 32), (6,)
OUTPUTS, VOCABULARY = 3, 10
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 8,
}


class Encoder(nn.Module):
    """A Hugging Face network over words, and a head on the mean of its last layer.

    The mask is additive and has four dimensions; transformers reads the values of other masks,
    which vmap does not allow.
    """

    def __init__(self, network: nn.Module, width: int) -> None:
        super().__init__()
        self.network, self.head = network, nn.Linear(width, OUTPUTS)

    def forward(self, words: Tensor) -> Tensor:
        """[S, words] -> [S, 3]."""
        rows, length = words.shape
        mask = self.head.weight.new_zeros(rows, 1, length, length)
        output = self.network(input_ids=words, attention_mask=mask)
        return self.head(output.last_hidden_state.mean(1))


def torchvision(name: str, **options: object) -> nn.Module:
    """Make a network of torchvision.models by its function or class."""
    models = import_module("torchvision.models")
    return getattr(models, name)(num_classes=OUTPUTS, **options)


def timm(name: str, **options: object) -> nn.Module:
    """Make a network of timm by its name."""
    return import_module("timm").create_model(name, num_classes=OUTPUTS, **options)


def transformers(kind: str, **options: object) -> nn.Module:
    """Make a network of transformers by the name of its family, without dropout."""
    library = import_module("transformers")
    config = getattr(library, f"{kind}Config")(**SMALL, **options)
    for dropout in (
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "attention_dropout",
        "dropout",
    ):
        if hasattr(config, dropout):
            setattr(config, dropout, 0.0)
    return Encoder(getattr(library, f"{kind}Model")(config), 16)


VIT = {"image_size": 32, "patch_size": 16, "num_layers": 2, "num_heads": 2, "hidden_dim": 16}
SWIN = {"patch_size": [4, 4], "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2]}
GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 8}
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
WHOLE: dict[str, tuple[tuple[int, ...], Callable[[], nn.Module]]] = {
    "torchvision resnet18": (IMAGE, partial(torchvision, "resnet18")),
    "torchvision mobilenet_v3_small": (
        IMAGE,
        partial(torchvision, "mobilenet_v3_small", dropout=0.0),
    ),
    "torchvision shufflenet_v2_x0_5": (IMAGE, partial(torchvision, "shufflenet_v2_x0_5")),
    "torchvision squeezenet1_1": (IMAGE, partial(torchvision, "squeezenet1_1", dropout=0.0)),
    "torchvision VisionTransformer": (
        IMAGE,
        partial(torchvision, "VisionTransformer", mlp_dim=24, **VIT),
    ),
    "torchvision SwinTransformer": (
        IMAGE,
        partial(
            torchvision, "SwinTransformer", window_size=[4, 4], stochastic_depth_prob=0.0, **SWIN
        ),
    ),
    "timm test_vit": (IMAGE, partial(timm, "test_vit", img_size=32)),
    "timm test_resnet": (IMAGE, partial(timm, "test_resnet")),
    "timm test_convnext": (IMAGE, partial(timm, "test_convnext")),
    "timm test_efficientnet": (IMAGE, partial(timm, "test_efficientnet")),
    "transformers Bert": (WORDS, partial(transformers, "Bert")),
    "transformers DistilBert": (
        WORDS,
        partial(transformers, "DistilBert", dim=16, n_layers=2, n_heads=2, hidden_dim=24),
    ),
    "transformers GPT2": (WORDS, partial(transformers, "GPT2", **GPT2, **NO_DROPOUT)),
    "transformers Llama": (WORDS, partial(transformers, "Llama")),
}


def inputs(shape: tuple[int, ...], tasks: int, rows: int) -> Tensor:
    """Draw fixed inputs [tasks, rows, *shape]: images, or words."""
    generator = torch.Generator().manual_seed(1)
    if shape == WORDS:
        return torch.randint(0, VOCABULARY, (tasks, rows, *shape), generator=generator)
    return torch.randn((tasks, rows, *shape), generator=generator)
