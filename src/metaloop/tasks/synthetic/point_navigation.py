"""Reinforcement learning: a point walks to a goal, Finn et al. 2017 (arXiv:1703.03400), 5.3."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from metaloop.arguments import Count, Positive
from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.tasks.metric import Metric, MetricFunction
from metaloop.tasks.random_streams import RandomStreams, Split
from metaloop.tasks.task import Network, Task

GOAL = 0.5  # goals are uniform in the square of this half width
SPEED = 0.1  # the longest step along an axis
NEAR = 0.01  # a rollout ends this near to the goal


class PointNavigation(Task):
    """Walk from the origin to a goal that the policy is not told, in the plane.

    A state is the position, an action the velocity in units of 0.1, clipped to +/- 1; the reward
    of a step is minus the distance to the goal; a rollout ends within 0.01 of it or after
    `horizon` steps. The model is a Gaussian policy: its outputs are the mean of the action.

    An episode is the goal and the noise of its rollouts: support inputs [K, horizon, 2] normal
    numbers, targets [K, 2] the goal, once for each rollout. So an inner step's rollouts are
    sampled anew by the adapted policy, with the support set's noise.

    The loss is minus the mean return in value; its gradient is that of the surrogate

        - mean_{rollouts, steps} log pi(a_t | s_t) A_t

    (REINFORCE) with a_t, s_t constants, whose derivative, in turn, is the Hessian that the
    meta-gradient needs. A_t is the return from t on minus the other rollouts' mean at t, over the
    standard deviation of all of them. As in the paper, how theta changes the distribution of the
    support rollouts is no part of the meta-gradient.

    Leave batch norm out of a policy: its statistics in a rollout, a step at a time, would not be
    those of the densities, which all steps share.

    Deviations: the paper's baseline is linear in features of the state, its policy's deviation
    is learned, and its meta-optimizer is TRPO.

    Args:
        shots: K, rollouts to adapt by; the paper's 20.
        queries: rollouts to judge by; the paper's 20.
        horizon: steps of a rollout; the paper's 100.
        action_std: the policy's standard deviation, of an action before it is clipped.

    """

    input_shape = (2,)
    output_size = 2
    is_fresh = True
    monitor = "return"

    def __init__(
        self, *, shots: Count, queries: Count, horizon: Count, action_std: Positive
    ) -> None:
        if min(shots, queries) < 2:
            raise UserError(
                "A rollout is compared with the others: task.shots and task.queries have to be 2 "
                f"or more, not {shots} and {queries}."
            )
        self.shots, self.queries = shots, queries
        self.horizon, self.action_std = horizon, action_std

    def draw(self, split: Split, streams: RandomStreams) -> Episode:
        goal = streams.uniform(1, 2, low=-GOAL, high=GOAL).float()
        rollouts = self.shots + self.queries
        noise = streams.normal(rollouts, self.horizon, 2).float()
        goals = goal.expand(-1, rollouts, -1)
        return Episode(
            support=Examples(noise[:, : self.shots], goals[:, : self.shots]),
            query=Examples(noise[:, self.shots :], goals[:, self.shots :]),
            classes=torch.empty(streams.episodes, 0, dtype=torch.int64),
        )

    def forward(self, network: Network, inputs: Tensor) -> Tensor:  # type: ignore[override]
        """Roll the policy out.

        Shapes:
            inputs  [rollouts, horizon, 2]  the noise of the actions
            returns [rollouts, horizon, 3]  log pi of each action, and the position after it
        """
        states, actions = [], []
        state = torch.zeros_like(inputs[:, 0])
        for noise in inputs.unbind(1):
            with torch.no_grad():  # what was sampled is a constant, along all derivatives
                action = (network(state) + self.action_std * noise).detach()
                states.append(state)
                actions.append(action)
                state = state + SPEED * action.clamp(-1, 1)
        taken = torch.stack(actions, 1)
        places = torch.stack([*states[1:], state], 1)
        mean = network(torch.stack(states, 1).flatten(0, 1)).view_as(taken)
        squares = ((taken - mean) / self.action_std).square().sum(-1, keepdim=True)
        log_density = -squares / 2 - math.log(2 * math.pi * self.action_std**2)
        return torch.cat([log_density, places], -1)

    def loss(self, predictions: Tensor, targets: Tensor) -> Tensor:
        log_density = predictions[..., 0]
        rewards, is_walking = walk(predictions, targets)
        to_go = rewards.flip(1).cumsum(1).flip(1)
        rollouts = len(to_go)
        advantage = (to_go - to_go.mean(0)) * (rollouts / (rollouts - 1))
        advantage = advantage / (advantage.square().mean().sqrt() + 1e-8)
        surrogate = -(log_density * advantage * is_walking).mean()
        return surrogate - surrogate.detach() - rewards.sum(1).mean()

    @property
    def metrics(self) -> Mapping[str, MetricFunction]:
        return {"return": Metric(mean_return, higher_is_better=True)}

    def describe(self) -> dict[str, int | str | bool]:
        return {
            "shots": self.shots,
            "queries": self.queries,
            "horizon": self.horizon,
            "action_std": f"{self.action_std:g}",
        }


def walk(predictions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The reward of every step, and 1 until the goal was reached, 0 after: constants.

    Both [rollouts, horizon].
    """
    distance = (predictions[..., 1:].detach() - targets[:, None]).norm(dim=-1)
    is_near = (distance < NEAR).to(distance.dtype)
    is_walking = (is_near.cumsum(1) - is_near == 0).to(distance.dtype)
    return -distance * is_walking, is_walking


def mean_return(predictions: Tensor, targets: Tensor) -> Tensor:
    """The sum of a rollout's rewards, averaged over the rollouts."""
    return walk(predictions, targets)[0].sum(1).mean()
