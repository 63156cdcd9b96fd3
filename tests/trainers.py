"""A trainer that does nothing but take steps."""

import pytorch_lightning as pl


def bare_trainer(max_steps: int, **more: object) -> pl.Trainer:
    """Without validation, logger, checkpoints and output; `more` says where it computes."""
    return pl.Trainer(
        max_steps=max_steps,
        max_epochs=-1,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        inference_mode=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **more,
    )
