"""Losses as users choose them, of predictions [S, 3] and targets [S, 3]."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F


def labels(y):
    return y.argmax(1)


def of_labels(loss):
    return lambda p, y: loss(p, labels(y))


def signs(y):
    return torch.where(y > 0, 1.0, -1.0).to(y)


def focal(p, y):
    log_p = p.log_softmax(1)
    weight = (1 - log_p.exp()) ** 2
    return F.nll_loss(weight * log_p, labels(y))


def dice(p, y):
    p, y = p.sigmoid(), (y > 0).to(p)
    return 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)


def contrastive(p, y):
    p = F.normalize(p)
    return F.cross_entropy(p @ p.T / 0.5, torch.arange(len(p), device=p.device))


def quantile(p, y):
    return torch.maximum(0.3 * (y - p), -0.7 * (y - p)).mean()


def correlation(p, y):
    p, y = p - p.mean(0), y - y.mean(0)
    return 1 - ((p * y).sum(0) / (p.norm(dim=0) * y.norm(dim=0))).mean()


def masked(p, y):
    return (p - y).square()[y > 0].mean()


def ranked(p, y):
    order = labels(y).sort().indices
    return (p[order].logcumsumexp(0) - p[order]).mean()


LOSSES = {
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "smooth l1": F.smooth_l1_loss,
    "huber": partial(F.huber_loss, delta=0.5),
    "mse module": nn.MSELoss(),
    "Poisson": lambda p, y: F.poisson_nll_loss(p, y.abs()),
    "Gaussian": lambda p, y: F.gaussian_nll_loss(p, y, F.softplus(p.flip(1)) + 0.1),
    "cross-entropy": of_labels(F.cross_entropy),
    "cross-entropy, smoothed": of_labels(partial(F.cross_entropy, label_smoothing=0.1)),
    "cross-entropy, ignoring": of_labels(partial(F.cross_entropy, ignore_index=0)),
    "cross-entropy of probabilities": lambda p, y: F.cross_entropy(p, y.softmax(1)),
    "multi-margin": of_labels(F.multi_margin_loss),
    "multi-margin, squared": of_labels(partial(F.multi_margin_loss, p=2)),
    "binary": lambda p, y: F.binary_cross_entropy(p.sigmoid(), y.sigmoid()),
    "binary with logits": lambda p, y: F.binary_cross_entropy_with_logits(p, y.sigmoid()),
    "Kullback-Leibler": lambda p, y: F.kl_div(
        p.log_softmax(1), y.softmax(1), reduction="batchmean"
    ),
    "soft margin": lambda p, y: F.soft_margin_loss(p, signs(y)),
    "multi-label soft margin": lambda p, y: F.multilabel_soft_margin_loss(p, (y > 0).to(p)),
    "multi-label margin": lambda p, y: F.multilabel_margin_loss(p, (y > 0).long() * 2 - 1),
    "hinge embedding": lambda p, y: F.hinge_embedding_loss(p, signs(y)),
    "cosine embedding": lambda p, y: F.cosine_embedding_loss(p, y, signs(y)[:, 0]),
    "margin ranking": lambda p, y: F.margin_ranking_loss(p, p.flip(0), signs(y), margin=0.3),
    "triplet": lambda p, y: F.triplet_margin_loss(p, y, y.flip(0)),
    "cdist": lambda p, y: torch.cdist(p, y).diagonal().mean(),
    "focal": focal,
    "dice": dice,
    "contrastive": contrastive,
    "quantile": quantile,
    "correlation": correlation,
    "masked": masked,
    "ranked": ranked,
    "log-cosh": lambda p, y: (p - y).cosh().log().mean(),
}
