"""Adapters: small additions to a frozen network, the part of it that is learned and adapts."""

from metaloop.adapters.lora import describe, is_adapter, lora, merge

__all__ = ["describe", "is_adapter", "lora", "merge"]
