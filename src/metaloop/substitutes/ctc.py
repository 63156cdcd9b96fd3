"""Connectionist temporal classification (CTC) loss, since torch's has no second derivative."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from metaloop.errors import UserError
from metaloop.substitutes.precision import full_precision

IMPOSSIBLE = -1e30  # log-probability of zero, with zero derivatives instead of NaN


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int] | int,
    target_lengths: Tensor | Sequence[int] | int,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Compute -log p(targets | inputs) by forward variables: Graves et al. 2006, eqs. 5 to 8.

    The derivatives assume normalised log_probs, as log_softmax returns. Torch adds exp(log_probs)
    to them, which log_softmax's backward removes again. Targets concatenated into one dimension
    are refused: where each begins depends on the data.

    Shapes: log_probs [T, N, C] or [T, C], targets [N, S] or [S], lengths [N] or a single one.
    """
    is_batched = log_probs.dim() == 3
    if not is_batched:
        log_probs, targets = log_probs.unsqueeze(1), targets.unsqueeze(0)
    if targets.dim() != 2:
        raise UserError(
            "ctc_loss with targets concatenated into one dimension cannot be differentiated twice. "
            "Pass targets [N, S], padded with any class."
        )
    steps, lengths = (
        torch.as_tensor(n, device=log_probs.device).reshape(-1)
        for n in (input_lengths, target_lengths)
    )
    log_p = _log_probability(full_precision(log_probs), targets, steps, lengths, blank)
    is_possible = log_p > IMPOSSIBLE / 2
    values = torch.where(is_possible, -log_p, 0.0 if zero_infinity else torch.inf)
    if reduction == "mean":
        values = (values / lengths.clamp(min=1)).mean()
    elif reduction == "sum":
        values = values.sum()
    elif not is_batched:
        values = values.squeeze(0)
    return values.to(log_probs.dtype)


def _log_probability(
    log_probs: Tensor, targets: Tensor, steps: Tensor, lengths: Tensor, blank: int
) -> Tensor:
    """Sum the probabilities of all alignments: log p, [N]."""
    is_label = torch.arange(targets.shape[1], device=targets.device) < lengths.unsqueeze(1)
    labels = torch.where(is_label, targets, blank)
    blanks = torch.full_like(labels, blank)
    # blank, l_1, blank, l_2, .., blank
    states = F.pad(torch.stack([blanks, labels], -1).flatten(1), (0, 1), value=blank)
    emitted = log_probs.gather(2, states.expand(len(log_probs), *states.shape))
    # the blank between two different labels may be skipped
    may_skip = (states != blank) & (states != F.pad(states, (2, 0), value=blank)[:, :-2])

    alpha = torch.where(torch.arange(states.shape[1], device=states.device) < 2, 0.0, IMPOSSIBLE)
    alpha = alpha + emitted[0]
    alphas = [alpha]
    for emission in emitted[1:]:
        one_on = F.pad(alpha, (1, 0), value=IMPOSSIBLE)[:, :-1]
        two_on = F.pad(alpha, (2, 0), value=IMPOSSIBLE)[:, :-2]
        two_on = torch.where(may_skip, two_on, IMPOSSIBLE)
        alpha = torch.stack([alpha, one_on, two_on]).logsumexp(0) + emission
        alphas.append(alpha)

    last = (steps.expand(len(states)) - 1).reshape(1, -1, 1).expand(1, *states.shape)
    final = torch.stack(alphas).gather(0, last).squeeze(0)
    ends = 2 * lengths.expand(len(states)).unsqueeze(1)
    at_blank = final.gather(1, ends)
    at_label = torch.where(ends > 0, final.gather(1, (ends - 1).clamp(min=0)), IMPOSSIBLE)
    return torch.cat([at_blank, at_label], 1).logsumexp(1)


ALWAYS: dict[Callable[..., object], Callable[..., object]] = {F.ctc_loss: ctc_loss}
