"""Every layer of torch.nn that computes something, by the kind of input that it takes."""

from functools import partial

from torch import nn

VECTOR = {
    **{
        kind.__name__: kind
        for kind in (
            nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh,
            nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.PReLU, nn.RReLU, nn.ReLU, nn.ReLU6, nn.SELU,
            nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink,
            nn.Identity, nn.Dropout, nn.AlphaDropout, nn.FeatureAlphaDropout,
        )
    },
    **{
        f"{kind.__name__} over features": partial(kind, dim=-1)
        for kind in (nn.Softmax, nn.Softmin, nn.LogSoftmax, nn.GLU)
    },
    "GELU, tanh": partial(nn.GELU, approximate="tanh"),
    "Threshold": partial(nn.Threshold, 0.1, -0.5),
    "ReLU in place": partial(nn.ReLU, inplace=True),
    "Hardsigmoid in place": partial(nn.Hardsigmoid, inplace=True),
    "PReLU a channel": partial(nn.PReLU, 8),
    "Linear without bias": partial(nn.Linear, 8, 5, bias=False),
    "LayerNorm": partial(nn.LayerNorm, 8),
    "LayerNorm, plain": partial(nn.LayerNorm, 8, elementwise_affine=False),
    "LayerNorm without bias": partial(nn.LayerNorm, 8, bias=False),
    "RMSNorm": partial(nn.RMSNorm, 8),
    "GroupNorm": partial(nn.GroupNorm, 2, 8),
    "BatchNorm1d": partial(nn.BatchNorm1d, 8),
    "BatchNorm1d, plain": partial(nn.BatchNorm1d, 8, affine=False),
    "BatchNorm1d without statistics": partial(nn.BatchNorm1d, 8, track_running_stats=False),
    "BatchNorm1d, cumulative": partial(nn.BatchNorm1d, 8, momentum=None),
}  # fmt: skip
SIGNAL = {
    "Conv1d": partial(nn.Conv1d, 4, 6, 3),
    "Conv1d, grouped and dilated": partial(nn.Conv1d, 4, 8, 3, groups=2, dilation=2),
    "Conv1d, reflected": partial(nn.Conv1d, 4, 6, 3, padding=1, padding_mode="reflect"),
    "Conv1d, same": partial(nn.Conv1d, 4, 6, 4, padding="same"),
    "ConvTranspose1d": partial(nn.ConvTranspose1d, 4, 3, 4, stride=2, output_padding=1),
    "BatchNorm1d of signals": partial(nn.BatchNorm1d, 4),
    "InstanceNorm1d": partial(nn.InstanceNorm1d, 4, affine=True),
    "MaxPool1d": partial(nn.MaxPool1d, 3, 2),
    "AvgPool1d": partial(nn.AvgPool1d, 3, 2),
    "LPPool1d": partial(nn.LPPool1d, 2, 3),
    "AdaptiveAvgPool1d": partial(nn.AdaptiveAvgPool1d, 5),
    "AdaptiveMaxPool1d": partial(nn.AdaptiveMaxPool1d, 5),
    "Upsample, linear": partial(nn.Upsample, scale_factor=2, mode="linear"),
    "Dropout1d": nn.Dropout1d,
    "ReflectionPad1d": partial(nn.ReflectionPad1d, 2),
    "CircularPad1d": partial(nn.CircularPad1d, 2),
    "ReplicationPad1d": partial(nn.ReplicationPad1d, 2),
    "ZeroPad1d": partial(nn.ZeroPad1d, 2),
}
IMAGE = {
    "Conv2d": partial(nn.Conv2d, 4, 6, 3),
    "Conv2d, strided": partial(nn.Conv2d, 4, 6, 3, stride=2, padding=1),
    "Conv2d a channel": partial(nn.Conv2d, 4, 4, 3, groups=4),
    "Conv2d, circular": partial(nn.Conv2d, 4, 6, 3, padding=1, padding_mode="circular"),
    "Conv2d, replicated": partial(nn.Conv2d, 4, 6, 3, padding=1, padding_mode="replicate"),
    "ConvTranspose2d": partial(nn.ConvTranspose2d, 4, 3, 3, stride=2, padding=1),
    "BatchNorm2d": partial(nn.BatchNorm2d, 4),
    "BatchNorm2d without statistics": partial(nn.BatchNorm2d, 4, track_running_stats=False),
    "InstanceNorm2d": partial(nn.InstanceNorm2d, 4),
    "InstanceNorm2d, tracking": partial(
        nn.InstanceNorm2d, 4, affine=True, track_running_stats=True
    ),
    "GroupNorm of images": partial(nn.GroupNorm, 2, 4),
    "LayerNorm of images": partial(nn.LayerNorm, [4, 8, 8]),
    "LocalResponseNorm": partial(nn.LocalResponseNorm, 2),
    "CrossMapLRN2d": partial(nn.CrossMapLRN2d, 2),
    "MaxPool2d": partial(nn.MaxPool2d, 2),
    "MaxPool2d, overlapping": partial(nn.MaxPool2d, 3, 2, padding=1, ceil_mode=True),
    "AvgPool2d": partial(nn.AvgPool2d, 3, 2, padding=1, count_include_pad=False),
    "LPPool2d": partial(nn.LPPool2d, 2, 2),
    "FractionalMaxPool2d": partial(nn.FractionalMaxPool2d, 2, output_size=3),
    "AdaptiveAvgPool2d": partial(nn.AdaptiveAvgPool2d, 3),
    "AdaptiveMaxPool2d": partial(nn.AdaptiveMaxPool2d, 3),
    "PixelShuffle": partial(nn.PixelShuffle, 2),
    "PixelUnshuffle": partial(nn.PixelUnshuffle, 2),
    "ChannelShuffle": partial(nn.ChannelShuffle, 2),
    "Unfold": partial(nn.Unfold, 3),
    "Fold": lambda: nn.Sequential(nn.Unfold(2, stride=2), nn.Fold(8, 2, stride=2)),
    "Upsample, nearest": partial(nn.Upsample, scale_factor=2),
    "Upsample, bilinear": partial(nn.Upsample, scale_factor=2, mode="bilinear"),
    "Upsample, bicubic": partial(nn.Upsample, size=5, mode="bicubic", align_corners=True),
    "Dropout2d": nn.Dropout2d,
    "ReflectionPad2d": partial(nn.ReflectionPad2d, 1),
    "ReplicationPad2d": partial(nn.ReplicationPad2d, 1),
    "ConstantPad2d": partial(nn.ConstantPad2d, 1, 0.5),
    "Softmax2d": nn.Softmax2d,
    "Flatten": nn.Flatten,
    "Unflatten": partial(nn.Unflatten, 1, (2, 2)),
}
VOLUME = {
    "Conv3d": partial(nn.Conv3d, 2, 3, 3),
    "ConvTranspose3d": partial(nn.ConvTranspose3d, 2, 3, 2, stride=2),
    "BatchNorm3d": partial(nn.BatchNorm3d, 2),
    "InstanceNorm3d": partial(nn.InstanceNorm3d, 2, affine=True),
    "MaxPool3d": partial(nn.MaxPool3d, 2),
    "AvgPool3d": partial(nn.AvgPool3d, 2),
    "AdaptiveAvgPool3d": partial(nn.AdaptiveAvgPool3d, 2),
    "AdaptiveMaxPool3d": partial(nn.AdaptiveMaxPool3d, 2),
    "Upsample, trilinear": partial(nn.Upsample, scale_factor=2, mode="trilinear"),
    "ReplicationPad3d": partial(nn.ReplicationPad3d, 1),
    "Dropout3d": nn.Dropout3d,
}
