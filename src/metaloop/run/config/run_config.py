"""A run's config, checked and typed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from metaloop.arguments import Seed, check_arguments
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.inner_loop import NormAdapts, NormModeName
from metaloop.run.config.construct import Node, section
from metaloop.run.config.published import Published
from metaloop.run.config.read import load_config
from metaloop.run.config.settings import Adaptation, Device, Evaluation, Training

Command = Literal["train", "evaluate", "adapt"]
# sections of values; all others are nodes to construct
SECTIONS: Mapping[str, Callable[..., object]] = {
    "training": Training,
    "device": Device,
    "evaluation": Evaluation,
    "adapt": Adaptation,
}


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The keys of config.yaml; conf/train.yaml explains those that are not explained here.

    Attributes:
        content: the whole config as it was read.
        format: see read.py.
        run_id: name of the run at Weights & Biases.
        task, model, .. data: nodes, whose `_target_` is constructed.
        part: a node that makes, of the network, one of which less is learned; None leaves it.
        callbacks, logger: nodes by name; a name that is None is switched off.
        published: values to print next to this run's.
        published_where: their common conditions, keys of the config and their values.
        run: in an evaluation or adaptation: path from its folder to the run's.
        adapt: in an adaptation: its examples and settings.

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
    published: list[Published]
    published_where: Mapping[str, object] = field(default_factory=dict)
    part: Node | None = None
    run: str | None = None
    adapt: Adaptation | None = None

    @classmethod
    def read(cls, folder: RunFolder) -> "RunConfig":
        """Read and check a folder's config.

        Raises:
            UserError: if it cannot be read, or a key is wrong.

        """
        return cls.of(load_config(folder))

    @classmethod
    def of(cls, content: Mapping[str, object]) -> "RunConfig":
        """Check a config's keys, and all values outside of nodes.

        Raises:
            UserError: if a key is unknown, missing, mistyped or out of range; it names the key.

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
        """Return a config with other values; other keys of a section stay as they are."""
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
