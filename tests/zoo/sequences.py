"""Networks over sequences and words: recurrent, attending, embedding."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from tests.zoo.network import WORDS, Does

RECURRENT = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}
FIRST = {"batch_first": True}


def recurrent(kind, **options):
    return Does(lambda m, x: m.cell(x)[0], cell=kind(8, 6, **options))


def unrolled(kind):
    def rule(m, x):
        state = None
        for step in x.unbind(1):
            state = m.cell(step, state)
        return state[0] if isinstance(state, tuple) else state

    return Does(rule, cell=kind(8, 6))


def attending(rule=lambda m, x: m.layer(x, x, x)[0], **options):
    return Does(rule, layer=nn.MultiheadAttention(8, 2, **FIRST, **options))


def encoder(**options):
    return nn.TransformerEncoderLayer(8, 2, 12, 0.0, **FIRST, **options)


def last_two_hidden(x):
    return (torch.arange(x.shape[1], device=x.device) >= 3).expand(x.shape[:2])


def packed(m, x):
    lengths = torch.tensor([5, 4, 3, 2][: len(x)])
    sequence = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
    return nn.utils.rnn.pad_packed_sequence(m.cell(sequence)[0], batch_first=True)[0]


def causal(m, x):
    mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
    return m.layer(x, x, x, attn_mask=mask.to(x), is_causal=True)[0]


def of_heads(m, x):
    q, k, v = m.project(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)


def by_hand(m, x):
    q, k, v = m.project(x).chunk(3, -1)
    scores = torch.einsum("bld,bsd->bls", q, k) / 8**0.5
    scores = scores.masked_fill(torch.ones(5, 5, device=x.device).triu(1).bool(), -torch.inf)
    return torch.einsum("bls,bsd->bld", scores.softmax(-1), v)


def with_state(m, x):
    start = x.new_zeros(1, len(x), 6)
    output, (h, c) = m.cell(x, (start, start + 0.1))
    return torch.cat([output.mean(1), h[0], c[0]], 1)


SEQUENCE = {
    **{f"{n}": partial(recurrent, k, **FIRST) for n, k in RECURRENT.items()},
    **{
        f"{n}, two ways, two layers": partial(
            recurrent, k, num_layers=2, bidirectional=True, **FIRST
        )
        for n, k in RECURRENT.items()
    },
    "LSTM, projected": partial(recurrent, nn.LSTM, proj_size=3, **FIRST),
    "LSTM, dropped out": partial(recurrent, nn.LSTM, num_layers=2, dropout=0.5, **FIRST),
    "LSTM with a first state": lambda: Does(with_state, cell=nn.LSTM(8, 6, **FIRST)),
    "LSTM over rows": lambda: Does(lambda m, x: m.cell(x.mean(1))[0], cell=nn.LSTM(8, 6)),
    "RNN of ReLUs": partial(recurrent, nn.RNN, nonlinearity="relu", **FIRST),
    "GRU without bias": partial(recurrent, nn.GRU, bias=False, **FIRST),
    "LSTM, packed": lambda: Does(packed, cell=nn.LSTM(8, 6, **FIRST)),
    "GRU, packed": lambda: Does(packed, cell=nn.GRU(8, 6, **FIRST)),
    "LSTMCell": partial(unrolled, nn.LSTMCell),
    "GRUCell": partial(unrolled, nn.GRUCell),
    "RNNCell": partial(unrolled, nn.RNNCell),
    "MultiheadAttention": attending,
    "MultiheadAttention without weights": partial(
        attending, lambda m, x: m.layer(x, x, x, need_weights=False)[0]
    ),
    "MultiheadAttention, padded": partial(
        attending, lambda m, x: m.layer(x, x, x, key_padding_mask=last_two_hidden(x))[0]
    ),
    "MultiheadAttention, causal": partial(attending, causal),
    "MultiheadAttention, extra key": partial(attending, add_bias_kv=True, add_zero_attn=True),
    "MultiheadAttention to another width": lambda: Does(
        lambda m, x: m.layer(x, x[..., :3], x[..., 3:])[0],
        layer=nn.MultiheadAttention(8, 2, kdim=3, vdim=5, **FIRST),
    ),
    "fused attention": lambda: Does(of_heads, project=nn.Linear(8, 24)),
    "attention by hand": lambda: Does(by_hand, project=nn.Linear(8, 24)),
    "TransformerEncoderLayer": encoder,
    "TransformerEncoderLayer, norm first": partial(encoder, norm_first=True, activation="gelu"),
    "TransformerEncoderLayer, padded": lambda: Does(
        lambda m, x: m.layer(x, src_key_padding_mask=last_two_hidden(x)), layer=encoder()
    ),
    "TransformerEncoder": lambda: nn.TransformerEncoder(encoder(), 2),
    "TransformerEncoder, dropped out": lambda: nn.TransformerEncoderLayer(8, 2, 12, 0.2, **FIRST),
    "TransformerDecoderLayer": lambda: Does(
        lambda m, x: m.layer(x, x.flip(1)),
        layer=nn.TransformerDecoderLayer(8, 2, 12, 0.0, **FIRST),
    ),
    "Transformer": lambda: Does(
        lambda m, x: m.layer(x, x[:, :2]), layer=nn.Transformer(8, 2, 1, 1, 12, 0.0, **FIRST)
    ),
}


def words(rule=lambda m, x: m.words(x), size=8, **options):
    return Does(rule, words=nn.Embedding(WORDS, size, **options))


def bag(**options):
    return Does(lambda m, x: m.words(x), words=nn.EmbeddingBag(WORDS, 8, **options))


def weighted_bag(m, x):
    weights = m.scale.expand(x.shape)
    return m.words(x, per_sample_weights=weights)


def bag_by_offsets(m, x):
    return m.words(x.flatten(), torch.arange(0, x.numel(), x.shape[1], device=x.device))


def with_positions(m, x):
    return m.norm(m.words(x) + m.places(torch.arange(x.shape[1], device=x.device)))


def tied(m, x):
    h = m.words(x).mean(1)
    return torch.tanh(h) @ m.words.weight.T


TOKENS = {
    "Embedding": words,
    "Embedding, padded": partial(words, padding_idx=3),
    "Embedding, padded from the end": partial(words, padding_idx=-1),
    "Embedding, sparse": partial(words, sparse=True),
    "Embedding, renormalised": partial(words, max_norm=0.5),
    "Embedding, scaled by frequency": partial(words, scale_grad_by_freq=True),
    "Embedding, one-hot": lambda: Does(
        lambda m, x: F.one_hot(x, WORDS).to(m.table) @ m.table,
        table=nn.Parameter(torch.linspace(-1, 1, 10 * 8).view(10, 8)),
    ),
    "Embedding by index": lambda: Does(
        lambda m, x: m.table[x], table=nn.Parameter(torch.linspace(-1, 1, 80).view(10, 8).cos())
    ),
    "Embedding and positions": lambda: Does(
        with_positions,
        words=nn.Embedding(WORDS, 8),
        places=nn.Embedding(6, 8),
        norm=nn.LayerNorm(8),
    ),
    "Embedding, also decoding": partial(words, tied),
    "Embedding and LSTM": lambda: Does(
        lambda m, x: m.cell(m.words(x))[0][:, -1],
        words=nn.Embedding(WORDS, 8, padding_idx=0),
        cell=nn.LSTM(8, 6, **FIRST),
    ),
    "EmbeddingBag": bag,
    "EmbeddingBag, sum": partial(bag, mode="sum", padding_idx=2),
    "EmbeddingBag, max": partial(bag, mode="max"),
    "EmbeddingBag, weighted": lambda: Does(
        weighted_bag,
        words=nn.EmbeddingBag(WORDS, 8, mode="sum"),
        scale=nn.Parameter(torch.linspace(0.5, 1.5, 6)),
    ),
    "EmbeddingBag by offsets": lambda: Does(bag_by_offsets, words=nn.EmbeddingBag(WORDS, 8)),
}
