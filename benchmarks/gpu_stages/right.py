"""The stage `right`: a GPU computes what it should."""

from functools import partial

from gpu_stages.ranks import two_cards, two_on_one_card
from gpu_stages.record import Record, Setting
from gpu_stages.reference import AT_ONCE, ONE_BY_ONE, PRECISIONS, against_reference
from gpu_stages.resumed import killed_and_resumed
from gpu_stages.ways import COMPILED, RECORDED


def right(setting: Setting, record: Record) -> None:
    """Reference meta-gradients, a killed run, two ranks: as they should be."""

    def compare(way: str, precisions: list[str]) -> None:
        for precision in precisions:
            item = partial(against_reference, precision, way, setting, record)
            record.item(f"reference, {precision}, {way}", item)

    every = list(PRECISIONS)
    compare(AT_ONCE, every)
    compare(ONE_BY_ONE, every)
    record.item("killed and resumed", lambda: killed_and_resumed(setting))
    record.item("two ranks on one card, gloo", lambda: two_on_one_card(setting))
    record.item("two ranks on two cards, NCCL", lambda: two_cards(setting))
    for precision in ("float32", "bf16", "float64", "TF32"):  # the most used first
        compare(RECORDED, [precision])
        if precision == "float32" or not setting.tiny:  # a rehearsal compiles once
            compare(COMPILED, [precision])
