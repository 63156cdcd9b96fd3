"""Networks for few-shot learning, each with a body and a head."""

from metaloop.models.conv4 import Conv4
from metaloop.models.fourier_features import FourierFeatures
from metaloop.models.hf_encoder import HFEncoder
from metaloop.models.hf_image_encoder import HFImageEncoder
from metaloop.models.mlp import MLP
from metaloop.models.resnet12 import ResNet12
from metaloop.models.siren import Siren
from metaloop.models.wide_resnet import WideResNet
from metaloop.models.word_attention import WordAttention

__all__ = [
    "MLP",
    "Conv4",
    "FourierFeatures",
    "HFEncoder",
    "HFImageEncoder",
    "ResNet12",
    "Siren",
    "WideResNet",
    "WordAttention",
]
