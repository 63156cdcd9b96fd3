"""Adapters: small learned additions to the matrices of a frozen network, the base."""

from metaloop.adapters.lora import describe, is_adapter, lora, merge

__all__ = ["describe", "is_adapter", "lora", "merge"]
