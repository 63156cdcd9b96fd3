"""Keep the checkpoints of the best validations."""

from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.callbacks import ModelCheckpoint

Mode = Literal["min", "max"]


class BestCheckpoint(ModelCheckpoint):
    """Keeps best.ckpt, the weights of the best validation; also works in a moved folder.

    Args:
        dirpath: folder of the checkpoint.
        monitor: the logged value that decides.
        mode: whether lower (min) or higher (max) is better.

    Examples:
        >>> from pathlib import Path
        >>> from metaloop import BestCheckpoint
        >>> callback = BestCheckpoint("checkpoints", monitor="val/query_loss", mode="min")
        >>> Path(callback.format_checkpoint_name({})).name
        'best.ckpt'

    """

    def __init__(
        self,
        dirpath: str | Path,
        *,
        monitor: str,
        mode: Mode,
        filename: str = "best",
        save_top_k: int = 1,
    ) -> None:
        super().__init__(
            dirpath,
            filename=filename,
            monitor=monitor,
            mode=mode,
            save_top_k=save_top_k,
            save_weights_only=True,
            enable_version_counter=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Lightning forgets the best score if the folder has moved since the checkpoint was saved
        best = {
            k: str(self._here(v)) for k, v in state_dict.items() if k == "best_model_path" and v
        }
        models = {str(self._here(k)): v for k, v in state_dict["best_k_models"].items()}
        here = {"dirpath": self.dirpath, "best_k_models": models, **best}
        if state_dict["kth_best_model_path"]:
            here["kth_best_model_path"] = str(self._here(state_dict["kth_best_model_path"]))
        super().load_state_dict({**state_dict, **here})

    def _here(self, path: str) -> Path:
        assert self.dirpath is not None
        return Path(self.dirpath) / Path(path).name


class EnsembleCheckpoints(BestCheckpoint):
    """Keeps the weights of the `size` best validations, as ensemble/step=N.ckpt.

    `evaluation.checkpoint=ensemble` evaluates the average of their predictions (Antoniou et al.
    2019, arXiv:1810.09502, section 5).
    """

    def __init__(self, dirpath: str | Path, *, monitor: str, mode: Mode, size: int) -> None:
        super().__init__(dirpath, monitor=monitor, mode=mode, filename="{step}", save_top_k=size)
