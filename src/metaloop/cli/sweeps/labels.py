"""What W&B is told of a run beside its config: how it is found among others."""


def label(content: dict[str, object], **labels: object) -> None:
    """Set W&B's labels, where the run logs there and its config does not set them already."""
    logger = content["logger"]
    node = logger.get("wandb") if isinstance(logger, dict) else None
    if isinstance(node, dict):
        for key, value in labels.items():
            node.setdefault(key, value)
