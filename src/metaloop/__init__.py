"""metaloop: a laboratory for gradient-based meta-learning.

Users import from here, and configs name what is here; `__init__.pyi` lists it. A name is loaded
when it is first asked for, so that `metaloop-train --help` stays quick. All other modules are
private: they may change without notice.
"""

import lazy_loader

__version__ = "0.2.0"

# public names of earlier versions
RENAMED = {
    "BatchNorm": "torch.nn.BatchNorm1d",  # or 2d, 3d: torch's own are exact now
    "Dice": "metaloop.RandomStreams",
    "MaxPool": "torch.nn.MaxPool2d",
}

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name in RENAMED:
        raise AttributeError(f"metaloop.{name} has a new name: {RENAMED[name]}.")
    return _load(name)
