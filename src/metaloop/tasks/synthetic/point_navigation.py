"""Reinforcement learning: a point walks to a goal."""

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

GOAL = 0.5  # goals are uniform in the square with this half width
SPEED = 0.1  # longest step along an axis
NEAR = 0.01  # a rollout ends within this distance of the goal


class PointNavigation(Task):
    """Walk in the plane from the origin to a goal that the policy does not know.

    Finn et al. 2017 (arXiv:1703.03400), section 5.3.

    The state is the position. The action is the velocity in units of 0.1, clipped to +/- 1. The
    reward of a step is minus the distance to the goal. A rollout ends within 0.01 of the goal or
    after `horizon` steps. The model is a Gaussian policy: its outputs are the mean of the action.

    An episode consists of the goal and the noise of its rollouts: support inputs [K, horizon, 2]
    are normal values, targets [K, 2] the goal, repeated for each rollout. So each inner step
    samples new rollouts by the adapted policy, with the support set's noise.

    The value of the loss is minus the mean return; its gradient is that of the surrogate

        - mean_{rollouts, steps} log pi(a_t | s_t) A_t

    (REINFORCE) with constant a_t and s_t. Its second derivative is the Hessian that the
    meta-gradient needs. A_t is the return from t on minus the other rollouts' mean at t, divided by
    the standard deviation over all of them. As in the paper, the meta-gradient ignores the effect
    of theta on the distribution of the support rollouts.

    Do not use batch norm in a policy: during a rollout, statistics of one step at a time would
    differ from those of the densities, which all steps share.

    Deviations: the paper's baseline is linear in features of the state, its policy's deviation
    is learned, and its meta-optimizer is TRPO.

    Args:
        shots: K, rollouts for adaptation; 20 in the paper.
        queries: rollouts for evaluation; 20 in the paper.
        horizon: steps per rollout; 100 in the paper.
        action_std: the policy's standard deviation, of an action before clipping.

    Examples:
        >>> import torch
        >>> from metaloop import PointNavigation, RandomStreams
        >>> task = PointNavigation(shots=2, queries=3, horizon=10, action_std=0.1)
        >>> episodes = task.draw("train", RandomStreams(0, "train", torch.arange(4)))
        >>> policy = torch.nn.Linear(2, 2)
        >>> walked = task.forward(policy, episodes.support.inputs[0])
        >>> walked.shape, task.metrics["return"](walked, episodes.support.targets[0]) < 0
        (torch.Size([2, 10, 3]), tensor(True))

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
                "A rollout is compared with others, so task.shots and task.queries must be at "
                f"least 2, not {shots} and {queries}."
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
        """Run the policy's rollouts.

        Shapes:
            inputs  [rollouts, horizon, 2]  noise of the actions
            returns [rollouts, horizon, 3]  log pi of each action, and the position after it
        """
        states, actions = [], []
        state = torch.zeros_like(inputs[:, 0])
        for noise in inputs.unbind(1):
            with torch.no_grad():  # samples are constants for all derivatives
                action = (network(state) + self.action_std * noise).detach()
                states.append(state)
                actions.append(action)
                state = state + SPEED * action.clamp(-1, 1)
        taken = torch.stack(actions, 1)
        positions = torch.stack([*states[1:], state], 1)
        mean = network(torch.stack(states, 1).flatten(0, 1)).view_as(taken)
        squares = ((taken - mean) / self.action_std).square().sum(-1, keepdim=True)
        log_density = -squares / 2 - math.log(2 * math.pi * self.action_std**2)
        return torch.cat([log_density, positions], -1)

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

    def suggest_files(self) -> None:
        """Suggest none: its examples are rollouts."""

    def describe(self) -> dict[str, int | str | bool]:
        return {
            "shots": self.shots,
            "queries": self.queries,
            "horizon": self.horizon,
            "action_std": f"{self.action_std:g}",
        }


def walk(predictions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Compute each step's reward, and 1 until the goal is reached, then 0; both constant.

    Both [rollouts, horizon].
    """
    distance = (predictions[..., 1:].detach() - targets[:, None]).norm(dim=-1)
    is_near = (distance < NEAR).to(distance.dtype)
    is_walking = (is_near.cumsum(1) - is_near == 0).to(distance.dtype)
    return -distance * is_walking, is_walking


def mean_return(predictions: Tensor, targets: Tensor) -> Tensor:
    """Sum each rollout's rewards, and average over the rollouts."""
    return walk(predictions, targets)[0].sum(1).mean()
