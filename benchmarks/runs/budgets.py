"""The budget of every task, equal for all algorithms, and what each algorithm sets."""

from typing import NamedTuple


class Budget(NamedTuple):
    """What all runs on a task share; `meta_steps` times the meta-batch is the tasks they see."""

    name: str
    meta_steps: int
    metric: str
    settings: tuple[str, ...]


BUDGETS = {
    "sinusoid": Budget(
        "Ten-point sinusoids",
        2000,
        "query_loss",
        ("task=sinusoid", "data.meta_batch_size=25"),
    ),
    "omniglot": Budget(
        "Omniglot, 5-way 1-shot",
        600,
        "accuracy",
        ("task=omniglot", "task.queries=1", "model.filters=32", "data.meta_batch_size=16"),
    ),
    "cifar_fs": Budget(
        "CIFAR-FS, 5-way 1-shot",
        400,
        "accuracy",
        (
            *("task=cifar_fs", "task.queries=5", "model.filters=32", "data.meta_batch_size=8"),
            *("optimizer.lr=0.003", "data.validation_episodes=100"),
        ),
    ),
}
LR, STEPS, EVAL_STEPS = (
    f"algorithm.{key}" for key in ("inner_lr", "inner_steps", "eval_inner_steps")
)
# Reptile trains on more shots than it is tested with, as in its paper: repeated steps on a single
# image per class do not generalise to other images.
REPTILE = (
    *("optimizer=sgd", "optimizer.momentum=0", "optimizer.lr=1"),
    *("scheduler=linear", "scheduler.total_iters=${training.max_steps}"),
)
# What differs from the algorithm's config, by task; the first one is what others are compared with.
SETTINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "maml": {
        "sinusoid": (),
        "omniglot": (f"{LR}=0.5", f"{EVAL_STEPS}=3"),
        "cifar_fs": (f"{LR}=0.2", f"{STEPS}=3", f"{EVAL_STEPS}=3"),
    },
    "fomaml": {"sinusoid": (), "omniglot": (f"{LR}=0.5", f"{EVAL_STEPS}=3")},
    "anil": {"sinusoid": (f"{LR}=0.05",), "omniglot": (f"{LR}=0.5", f"{EVAL_STEPS}=5")},
    "boil": {"sinusoid": (), "omniglot": (f"{LR}=0.5", f"{EVAL_STEPS}=3")},
    "meta_sgd": {"sinusoid": (), "omniglot": (f"{LR}=0.5",)},
    "meta_curvature": {"sinusoid": (), "omniglot": (f"{LR}=0.5", f"{EVAL_STEPS}=3")},
    "maml_plus_plus": {
        "sinusoid": (f"{LR}=0.01", "algorithm.multi_step_epochs=1", "training.own_lr=0.0001"),
        "omniglot": ("algorithm.multi_step_epochs=1", "algorithm.epoch_steps=300"),
    },
    "cavia": {
        "sinusoid": ("model.context_size=5",),
        "omniglot": ("model.context_size=100", f"{LR}=10", f"{EVAL_STEPS}=3"),
    },
    "imaml": {
        "sinusoid": (),
        "omniglot": (
            *(f"{LR}=0.2", "algorithm.strength=0.2", f"{STEPS}=10", f"{EVAL_STEPS}=10"),
            "norm_adapts=none",
        ),
    },
    "reptile": {
        "sinusoid": REPTILE,
        "omniglot": (
            *REPTILE,
            *("task.shots=10", "algorithm.batch_size=10", f"{LR}=0.003", f"{EVAL_STEPS}=20"),
        ),
    },
    "prototypical": {"omniglot": (), "cifar_fs": ()},
    "r2d2": {"sinusoid": (), "omniglot": (), "cifar_fs": ()},
    "proto_maml": {"omniglot": (), "cifar_fs": (f"{STEPS}=3", f"{EVAL_STEPS}=3")},
    "pmf": {"omniglot": (), "cifar_fs": ()},
    "pretrain": {
        "sinusoid": (),
        "omniglot": (f"{LR}=0.5", f"{EVAL_STEPS}=10"),
        "cifar_fs": (f"{LR}=0.1",),
    },
    "random": {
        "sinusoid": (),
        "omniglot": (f"{LR}=0.5", f"{EVAL_STEPS}=10"),
        "cifar_fs": (f"{LR}=0.1",),
    },
}
# The algorithm of a baseline that has another one's config, and what half of the meta-steps go to.
ALGORITHM = {"random": "pretrain"}
STARTS_FROM = {"pmf": "pretrain"}
