"""A small network for sentences: an attention-weighted mean of word embeddings."""

import torch
from torch import Tensor, nn

from metaloop.arguments import Count, CountOrZero
from metaloop.errors import UserError


class WordAttention(nn.Module):
    """Word embeddings, averaged by learned attention, a hidden layer, a linear head.

    With e_1 .. e_L the embeddings of a sentence's tokens,

        a = softmax(q . e_1, .., q . e_L), ignoring padding,    h = relu(W (sum_i a_i e_i) + b)

    so that words like "please" can learn to count little in every task (an idea of Bao et al.
    2020, arXiv:1908.06039, whose attention reads word frequencies).

    Args:
        output_size: the ways.
        vocabulary_size: number of token ids; 0 is padding.
        embedding_size: size of a token's embedding.
        hidden_size: width of the hidden layer.

    Shapes:
        x [rows, tokens] integers

    Examples:
        >>> import torch
        >>> from metaloop import WordAttention
        >>> network = WordAttention(5, 100, embedding_size=8, hidden_size=8)
        >>> tokens = torch.tensor([[7, 12, 0, 0], [7, 12, 0, 0]])  # 0 is padding
        >>> network(tokens).shape
        torch.Size([2, 5])

    """

    def __init__(
        self,
        output_size: Count,
        vocabulary_size: CountOrZero,
        *,
        embedding_size: Count,
        hidden_size: Count,
    ) -> None:
        super().__init__()
        require_tokens("WordAttention", vocabulary_size)
        self.body = nn.Sequential(
            AttentiveMean(vocabulary_size, embedding_size),
            nn.Linear(embedding_size, hidden_size),
            nn.ReLU(),
        )
        self.head = nn.Linear(hidden_size, output_size)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.body(x))
        return outputs


class AttentiveMean(nn.Module):
    """[rows, tokens] -> [rows, embedding_size]; attention is initially zero: the plain mean.

    Embeddings are initially small, so that a word unseen in training has little effect.
    """

    def __init__(self, vocabulary_size: int, embedding_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.query = nn.Parameter(torch.zeros(embedding_size))

    def forward(self, x: Tensor) -> Tensor:
        embedded: Tensor = self.embedding(x)
        padding = (x == 0).to(embedded.dtype)
        # a large value rather than infinity, so that a row of only padding does not give NaN
        attention = (embedded @ self.query - 1e4 * padding).softmax(-1)
        return (attention[..., None] * embedded).sum(-2)


def require_tokens(model: str, vocabulary_size: int) -> None:
    """Refuse a task whose inputs are not tokens.

    Raises:
        UserError: if they are real values.

    """
    if vocabulary_size == 0:
        raise UserError(
            f"{model} needs tokens of a text, but the task's inputs are real values. Choose "
            "task=clinc150 or task=banking77, or another model."
        )
