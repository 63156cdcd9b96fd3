"""The norms of a model, and their scale and shift parameters."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from metaloop.errors import UserError

SCALED = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def batch_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """Find the model's batch norms, by name."""
    return {name: m for name, m in model.named_modules() if isinstance(m, _BatchNorm)}


def has_statistics(norm: _BatchNorm) -> bool:
    """Check whether training has stored statistics in a batch norm."""
    return norm.num_batches_tracked is not None and bool(norm.num_batches_tracked > 0)


def scales_and_shifts(model: nn.Module) -> dict[str, str]:
    """Map the names of the norms' parameters to `scale` or `shift`."""
    kinds = {"weight": "scale", "bias": "shift"}
    return {
        f"{module_name}.{name}".lstrip("."): kinds[name]
        for module_name, module in model.named_modules()
        if isinstance(module, SCALED)
        for name, _ in module.named_parameters(recurse=False)
        if name in kinds
    }


def refuse_unfit_norms(model: nn.Module, norm_mode: str, *, stores: bool) -> None:
    """Refuse batch norms that cannot follow the norm mode.

    Raises:
        UserError: if one is synchronised over processes, or cannot store statistics.

    """
    for name, norm in batch_norms(model).items():
        if isinstance(norm, nn.SyncBatchNorm):
            raise UserError(
                f"{name} is a SyncBatchNorm, whose statistics would mix the tasks of all "
                "processes. Use torch.nn.BatchNorm2d, which keeps the tasks apart."
            )
        if stores and norm.running_mean is None:
            raise UserError(
                f"norm_mode={norm_mode} normalises by stored statistics, but {name} "
                f"({type(norm).__name__}) does not store any. Create it with "
                "track_running_stats=True, or use norm_mode=transductive."
            )
