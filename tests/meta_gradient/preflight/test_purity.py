"""A forward pass changes nothing and repeats itself, in training and in evaluation."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from metaloop.errors import UserError
from tests.meta_gradient.preflight.networks import Rule, algorithm_of, plain, verdict_of


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True")
@pytest.mark.parametrize("name", ["maml", "fomaml"])
@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_is_refused_by_name(name, reentrant):
    def rule(m, x):
        return m.head(checkpoint(m.body, x, use_reentrant=reentrant))

    with pytest.raises(UserError, match="Rule uses torch.utils.checkpoint.*adjoint=recomputed"):
        verdict_of(algorithm_of(Rule(rule), name=name))


def test_an_embedding_that_renormalises_its_weight_is_refused():
    model = Rule(
        lambda m, x: m.head(m.words((x[:, 0] > 0).long())), words=nn.Embedding(3, 8, max_norm=0.1)
    )
    before = model.words.weight.clone()
    with pytest.raises(UserError, match="max_norm"):
        verdict_of(algorithm_of(model))
    assert torch.equal(model.words.weight, before)


@pytest.mark.parametrize("name", ["maml", "fomaml"])
def test_inputs_changed_in_place_are_refused(name):
    with pytest.raises(UserError, match="changes the task's inputs in place"):
        verdict_of(algorithm_of(Rule(lambda m, x: m.head(m.body(x.mul_(0.5)))), name=name))


def running_mean(m, x):
    m.mean = 0.9 * m.mean + 0.1 * x.mean(0)
    return m.head(m.body(x - m.mean))


def count_up(m, x):
    m.seen = m.seen + float(x.detach().sum())
    return m.head(m.body(x * m.seen))


@pytest.mark.parametrize(
    ("model", "attribute"),
    [(Rule(running_mean, mean=torch.zeros(1)), "mean"), (Rule(count_up, seen=0.5), "seen")],
)
def test_state_in_a_plain_attribute_is_refused_by_name(model, attribute):
    with pytest.raises(UserError, match=f"remembers earlier inputs .*attribute {attribute}"):
        verdict_of(algorithm_of(model))


def test_an_attribute_that_is_written_but_never_read_is_allowed():
    def rule(m, x):
        m.kept = m.body(x)
        return m.head(torch.tanh(m.kept))

    model = Rule(rule)
    model(torch.ones(2, 1))  # keeps a tensor of a graph, which cannot be deep-copied as it is
    assert verdict_of(algorithm_of(model), chunks=2).at_once["tasks_at_once"] == "all"


def test_a_private_random_generator_is_refused():
    own = torch.Generator().manual_seed(0)
    model = Rule(lambda m, x: m.head(m.body(x + torch.randn(x.shape, generator=own))))
    with pytest.raises(
        UserError, match="random generator of its own, which the seed does not control"
    ):
        verdict_of(algorithm_of(model))


def test_train_mode_is_checked_if_the_model_is_in_eval_mode():
    class Running(nn.Linear):
        """Keeps a running mean of what it puts out, as a batch norm does by itself."""

        def __init__(self, inputs, outputs):
            super().__init__(inputs, outputs)
            self.register_buffer("mean", torch.zeros(outputs))

        def forward(self, x):
            y = super().forward(x)
            if self.training:
                self.mean.mul_(0.9).add_(0.1 * y.detach().mean(0))
            return y - self.mean.clone()

    model = nn.Sequential(nn.Linear(1, 8), Running(8, 8), nn.Linear(8, 1)).eval()
    with pytest.raises(UserError, match=r"changes 1.mean.*\(in training mode\)"):
        verdict_of(algorithm_of(model))
    modes = {name: False for name, _ in model.named_modules()}  # and so it is to be trained
    assert verdict_of(algorithm_of(model), modes=modes).at_once["tasks_at_once"] in ("all", 1)


def test_eval_mode_is_checked_if_the_model_is_in_train_mode():
    def rule(m, x):
        if not m.training:
            m.scale.mul_(0.9)
        return m.head(m.body(x * m.scale))

    model = Rule(rule)
    model.register_buffer("scale", torch.ones(1))
    with pytest.raises(UserError, match=r"changes scale in its forward pass \(in eval\(\)\)"):
        verdict_of(algorithm_of(model))


def test_the_callers_model_and_random_state_stay_as_they_were():
    model = plain()
    before = {n: (p, p._version) for n, p in model.named_parameters()}
    state = torch.get_rng_state()
    verdict_of(algorithm_of(model))
    assert torch.equal(torch.get_rng_state(), state)
    after = {n: (p, p._version) for n, p in model.named_parameters()}
    assert all(after[n][0] is p and after[n][1] == version for n, (p, version) in before.items())


def test_a_loss_that_changes_its_buffers_is_named():
    class Tracking(nn.MSELoss):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.ones(()))

        def forward(self, p, y):
            loss = super().forward(p, y)
            self.mean.mul_(0.9).add_(0.1 * loss.detach())
            return loss

    with pytest.raises(UserError, match="changes loss.mean in its forward pass"):
        verdict_of(algorithm_of(plain(), loss=Tracking()))


def test_hooks_on_parameters_are_said_to_see_the_meta_gradient_alone():
    model = plain()
    model.body.weight.register_hook(torch.zeros_like)
    assert (
        "The hooks on body.weight see the meta-gradient alone"
        in (verdict_of(algorithm_of(model)).notes[0])
    )
