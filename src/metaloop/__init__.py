"""metaloop: a laboratory for gradient-based meta-learning.

Users import from here, and configs name what is here; `__init__.pyi` lists it. A name is loaded
when it is first asked for, so that `metaloop-train --help` stays quick. All other modules are
private: they may change without notice.
"""

import lazy_loader

__version__ = "0.2.0"

RENAMED = {"Dice": "RandomStreams"}  # public names of earlier versions

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name in RENAMED:
        raise AttributeError(f"metaloop.{name} has a new name: metaloop.{RENAMED[name]}.")
    return _load(name)
