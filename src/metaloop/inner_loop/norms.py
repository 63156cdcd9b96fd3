"""The norms of a model: which they are, and what of their parameters is scale or shift."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from metaloop.errors import UserError

SCALED = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def batch_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """The model's batch norms, by name."""
    return {name: m for name, m in model.named_modules() if isinstance(m, _BatchNorm)}


def has_statistics(norm: _BatchNorm) -> bool:
    """Whether a batch norm holds statistics that training has stored in it."""
    return norm.num_batches_tracked is not None and bool(norm.num_batches_tracked > 0)


def scales_and_shifts(model: nn.Module) -> dict[str, str]:
    """The parameters of the model's norms: name -> `scale` or `shift`."""
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
        UserError: one is synchronised over processes, or holds no place for statistics.

    """
    for name, norm in batch_norms(model).items():
        if isinstance(norm, nn.SyncBatchNorm):
            raise UserError(
                f"{name} is a SyncBatchNorm, whose statistics would mix the tasks of all "
                "processes. Use torch.nn.BatchNorm2d: each task has statistics of its own."
            )
        if stores and norm.running_mean is None:
            raise UserError(
                f"norm_mode={norm_mode} normalises by stored statistics, and {name} "
                f"({type(norm).__name__}) has no place for any. Make it with "
                "track_running_stats=True, or take norm_mode=transductive."
            )
