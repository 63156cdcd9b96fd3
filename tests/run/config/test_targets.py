"""What a config names is judged before it is called, and its package before it is imported."""

import sys

import pytest
import torch
from pytorch_lightning.callbacks import Callback
from torch import nn

from metaloop.errors import UserError
from metaloop.run.config import targets
from metaloop.run.config.build import build
from metaloop.run.config.construct import construct
from metaloop.run.config.run_config import RunConfig
from tests.conftest import composed

OWN = __name__
CALLED = []


def unannotated():
    CALLED.append("unannotated")
    return nn.Identity()


def any_of_it() -> object:
    CALLED.append("any_of_it")
    return nn.Identity()


def make_layer(width: int = 3) -> nn.Module:
    return nn.Linear(width, width)


def make_callback() -> Callback:
    return Callback()


class Net(nn.Module):
    """A user's network of parts, some of whose arguments say what they are."""

    def __init__(self, part: nn.Module | None = None, anything=None, layers: list[nn.Module] = ()):
        super().__init__()
        self.part, self.anything, self.layers = part, anything, nn.ModuleList(layers)


MARK = "open('was_here', 'w')"
# each names what executes something, writes somewhere, or makes another thing than is asked for
TARGETS = {
    "os.system": {"command": "touch was_here"},
    "posix.system": {"command": "touch was_here"},
    "torch.os.system": {"command": "touch was_here"},
    "subprocess.Popen": {"args": ["touch", "was_here"]},
    "subprocess.run": {"_args_": [["touch", "was_here"]]},
    "builtins.eval": {"_args_": [MARK]},
    "builtins.exec": {"_args_": [MARK]},
    "builtins.open": {"file": "was_here", "mode": "w"},
    "io.FileIO": {"file": "was_here", "mode": "w"},
    "runpy.run_path": {"path_name": "evil.py"},
    "importlib.import_module": {"name": "evil"},
    "pydoc.locate": {"path": "os.system"},
    "hydra.utils.get_method": {"path": "os.system"},
    "hydra.utils.instantiate": {"config": {"command": "touch was_here"}},
    "functools.partial": {
        "_args_": [{"_target_": "os.system", "_partial_": True}, "touch was_here"]
    },
    "operator.methodcaller": {"_args_": ["system", "touch was_here"]},
    "logging.FileHandler": {"filename": "was_here"},
    "logging.config.dictConfig": {"config": {}},
    "numpy.memmap": {"filename": "was_here", "shape": [1], "mode": "w+"},
    "numpy.load": {"file": "evil.npy", "allow_pickle": True},
    "pickle.load": {"file": "evil.pkl"},
    "shelve.open": {"filename": "was_here"},
    "tempfile.NamedTemporaryFile": {},
    "webbrowser.open": {"url": "file:///evil"},
    "ctypes.CDLL": {"name": "evil.so"},
    "code.interact": {},
    "torch.load": {"f": "evil.pt", "weights_only": False},
    "torch.save": {"obj": 1, "f": "was_here"},
    "torch.jit.load": {"f": "evil.pt"},
    "torch.hub.load": {"repo_or_dir": "evil/evil", "model": "evil"},
    "torch.package.PackageImporter": {"file_or_buffer": "evil.pt"},
    "torch.utils.cpp_extension.load": {"name": "evil", "sources": ["evil.cpp"]},
    "torch.utils.cpp_extension.load_inline": {"name": "evil", "cpp_sources": "evil"},
    "torch.ops.load_library": {"path": "evil.so"},
    "torch.fx.graph_module.reduce_graph_module": {"body": {}, "import_block": MARK},
    "torch.jit._script.unpackage_script_module": {"importer": 1, "script_module_id": "x"},
    "pytorch_lightning.LightningModule.load_from_checkpoint": {"checkpoint_path": "evil.ckpt"},
    "pytorch_lightning.core.saving._load_from_checkpoint": {"cls": 1, "checkpoint_path": "evil"},
    "metaloop.run.train.train": {"folder": "evil"},
    "metaloop.Learner.load": {"folder": "evil"},
    "metaloop.store_arrays": {"images": 1, "labels": 1},
    f"{OWN}.unannotated": {},
    f"{OWN}.any_of_it": {},
    f"{OWN}.CALLED.append": {"_args_": ["append"]},
    f"{OWN}.nothing": {},
    "nowhere.at.all": {},
    "..": {},
    "": {},
}
PLACES = ("model", "task", "algorithm", "optimizer", "scheduler", "callbacks.x", "logger.x")


def placed(place: str, node: dict) -> dict:
    config = composed()
    *above, last = place.split(".")
    (config[above[0]] if above else config)[last] = node
    return config


@pytest.fixture
def nothing_happens(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "evil.py").write_text(MARK)
    CALLED.clear()
    yield
    assert {path.name for path in tmp_path.iterdir()} == {"evil.py"}
    assert not CALLED
    assert "evil" not in sys.modules


@pytest.mark.parametrize("target", TARGETS)
def test_no_target_is_called_that_does_not_make_what_belongs_there(target, nothing_happens):
    for place in PLACES:
        with pytest.raises(UserError, match=place):
            build(RunConfig.of(placed(place, {"_target_": target, **TARGETS[target]})))


@pytest.mark.parametrize(
    "where",
    [
        lambda node: {"anything": node},
        lambda node: {"part": node},
        lambda node: {"anything": {"deep": [[{"deeper": node}]]}},
        lambda node: {"layers": [node]},
        lambda node: {"_args_": [node]},
        lambda node: {"anything": {**node, "_partial_": True}},
        lambda node: {"anything": {"_target_": "torch.nn.Sequential", "_args_": [node]}},
    ],
)
@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "os.system", "command": "touch was_here"},
        {"_target_": "io.FileIO", "file": "was_here", "mode": "w"},
        {"_target_": f"{OWN}.unannotated"},
    ],
)
def test_nor_anything_inside_an_argument(where, node, nothing_happens):
    with pytest.raises(UserError, match=r"model\."):
        construct({"_target_": f"{OWN}.Net", **where(node)}, nn.Module, key="model")


def test_own_classes_and_annotated_functions_need_no_flag():
    layer = {"_target_": f"{OWN}.make_layer", "width": 2}
    node = {
        "_target_": f"{OWN}.Net",
        "part": layer,
        "layers": [layer, {"_target_": "torch.nn.Sequential", "_args_": [layer]}],
        "anything": {"deep": {"_target_": "torch.nn.ReLU", "_partial_": True}},
    }
    net = construct(node, nn.Module, key="model")
    assert net.part.in_features == net.layers[1][0].in_features == 2
    assert isinstance(net.anything["deep"](), nn.ReLU)
    made = construct({"_target_": f"{OWN}.make_callback"}, Callback, key="callbacks.x")
    assert type(made) is Callback
    assert isinstance(construct(layer, torch.nn.Module, key="model"), nn.Linear)


def test_metaloop_trust_allows_its_packages_alone_before_anything_is_imported(
    nothing_happens, monkeypatch
):
    monkeypatch.setenv("METALOOP_TRUST", "mine, other.part")
    build(RunConfig.of(composed("logger=wandb")))
    for name in ("evil.Net", "other.Net", "minerals.Net"):
        config = placed("callbacks.x", {"_target_": name})
        says = rf"callbacks\.x\._target_={name} .*METALOOP_TRUST=mine, other\.part .*was not import"
        with pytest.raises(UserError, match=says):
            build(RunConfig.of(config))
    monkeypatch.setenv("METALOOP_TRUST", "")
    with pytest.raises(UserError, match=r"set METALOOP_TRUST=tests\."):
        construct({"_target_": f"{OWN}.Net"}, nn.Module, key="model")
    monkeypatch.setenv("METALOOP_TRUST", OWN)
    construct({"_target_": f"{OWN}.Net"}, nn.Module, key="model")


def test_torchvisions_data_sets_are_trusted_with_torch_and_the_rest_of_it_is_not(monkeypatch):
    monkeypatch.setenv("METALOOP_TRUST", "")
    targets.require_trusted("torchvision.datasets.Flowers102", "task.dataset")
    for name in (
        "torchvision.io.read_file",
        "torchvision.datasetsx.Set",
        "torchvisions.datasets.A",
    ):
        with pytest.raises(UserError, match="does not allow"):
            targets.require_trusted(name, "task.dataset")


def test_a_node_without_a_target_is_a_place_with_nothing_in_it():
    empty = {"_target_": None, "_partial_": True}
    net = construct({"_target_": f"{OWN}.Net", "part": empty}, nn.Module, key="model")
    assert net.part is None


def test_code_from_outside_is_named_once(capsys):
    targets._print_foreign.cache_clear()
    for _ in range(2):
        construct({"_target_": f"{OWN}.Net"}, nn.Module, key="model")
    assert capsys.readouterr().out.startswith("Uses code from outside metaloop and torch: tests (")
    build(RunConfig.of(composed()))
    assert not capsys.readouterr().out
