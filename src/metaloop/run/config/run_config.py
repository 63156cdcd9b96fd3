"""A run's config, checked: what config.yaml says, with its types."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from metaloop.arguments import Seed, check_arguments
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.inner_loop import NormAdapts, NormModeName
from metaloop.run.config.construct import Node, section
from metaloop.run.config.read import load_config
from metaloop.run.config.settings import Adaptation, Device, Evaluation, Training

Command = Literal["train", "evaluate", "adapt"]
# sections whose keys are values, not pieces to construct
SECTIONS: Mapping[str, Callable[..., object]] = {
    "training": Training,
    "device": Device,
    "evaluation": Evaluation,
    "adapt": Adaptation,
}


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The keys of config.yaml; those explained nowhere else are explained in conf/train.yaml.

    Attributes:
        content: all of it, as it was read.
        format: see read.py.
        run_id: names the run at Weights & Biases.
        task, model, .. data: nodes, whose `_target_` is constructed.
        part: a node that makes, of the network, one of which less is learned; None leaves it.
        callbacks, logger: nodes by name; a name that is None is switched off.
        published: values to print next to this run's, each under conditions of its own (`where`),
            with a `note` of what may be wrong with it, and `ran_whole` where the preset's whole
            schedule is on the board.
        published_where: their common conditions, keys of the config and their values.
        run: of an evaluation or adaptation: the way from its folder to the run's.
        adapt: of an adaptation: to what, and how.

    """

    content: Mapping[str, object] = field(repr=False, compare=False)
    format: int
    command: Command
    run_id: str
    init_from: str | None
    seed: Seed
    norm_mode: NormModeName
    norm_adapts: NormAdapts
    task: Node
    model: Node
    algorithm: Node
    optimizer: Node
    scheduler: Node
    data: Node
    training: Training
    device: Device
    evaluation: Evaluation
    callbacks: Mapping[str, Node | None]
    logger: Mapping[str, Node | None]
    published: list[dict[str, object]]
    published_where: Mapping[str, object] = field(default_factory=dict)
    part: Node | None = None
    run: str | None = None
    adapt: Adaptation | None = None

    @classmethod
    def read(cls, folder: RunFolder) -> "RunConfig":
        """Read a folder's config.

        Raises:
            UserError: it cannot be read, or a key of it is not what it should be.

        """
        return cls.of(load_config(folder))

    @classmethod
    def of(cls, content: Mapping[str, object]) -> "RunConfig":
        """Check a config's keys, and their values where they are no pieces.

        Raises:
            UserError: an unknown, missing, mistyped or out-of-range key, by its name.

        """
        keys = {name: value for name, value in content.items() if name not in SECTIONS}
        check_arguments(cls, keys, key="", supplied={"content", *SECTIONS})
        sections = {
            name: section(kind, _node(content, name), name)
            for name, kind in SECTIONS.items()
            if name != "adapt" or name in content
        }
        return cls(content=content, **keys, **sections)  # type: ignore[arg-type]

    def changed(self, **values: object) -> "RunConfig":
        """Take other values; the other keys of a section stay as they are."""
        return RunConfig.of(_merge(self.content, values))


def _merge(node: Node, values: Node) -> dict[str, object]:
    merged = dict(node)
    for key, value in values.items():
        inner = node.get(key)
        if isinstance(value, Mapping) and isinstance(inner, Mapping):
            value = _merge(inner, value)
        merged[key] = value
    return merged


def _node(content: Mapping[str, object], name: str) -> Node:
    node = content.get(name)
    if not isinstance(node, Mapping):
        raise UserError(f"{name} is missing: a config has this section, with the keys it needs.")
    return node
