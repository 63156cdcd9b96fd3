"""Every option composes and builds, every experiment runs, every key says what it is."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from metaloop.cli.hydra_app import CONF
from metaloop.folders.run_folder import RunFolder
from metaloop.loggers import MetricsCsv
from metaloop.run.config.build import build, build_callbacks, build_loggers
from metaloop.run.config.published import unmet_conditions
from metaloop.run.config.run_config import RunConfig
from metaloop.run.config.write import write_run
from metaloop.run.evaluation.results import add_ours
from metaloop.run.train import train
from tests.conftest import composed

CHOICES = sorted(
    (
        path.parent.relative_to(CONF).parts[0],
        str(path.relative_to(CONF / path.relative_to(CONF).parts[0]))[:-5],
    )
    for path in CONF.rglob("*.yaml")
    if path.parent != CONF
)
EXPERIMENTS = [choice for group, choice in CHOICES if group == "experiment"]
FILES = sorted(CONF.rglob("*.yaml"))


def save_image(path: Path) -> None:
    path.parent.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(path)


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_option_of_every_group_composes_and_builds(group, choice, tmp_path):
    needs = {
        "conv4": ("task=omniglot",),
        "resnet12": ("task=omniglot",),
        "wide_resnet": ("task=omniglot",),
        "word_attention": ("task=clinc150",),
        "hf_encoder": ("task=clinc150",),
        "hf_image_encoder": ("task=omniglot",),
        "ddp": ("data.meta_batch_size=24",),
        "cavia": ("model.context_size=5",),
        "prototypical": ("task=omniglot",),
        "proto_maml": ("task=omniglot",),
        "pmf": ("task=omniglot",),
        "tiered_imagenet": (f"task.data_dir={tmp_path}",),
        "image_folder": (f"task.data_dir={tmp_path / 'data'}", "task.split=folders"),
    }
    if choice == "arrays":
        np.savez(tmp_path / "own.npz", features=np.zeros((6, 2)), label=np.arange(6))
        needs["arrays"] = (f"task.data_dir={tmp_path}", "task.file=own.npz")
    if choice == "dataset":
        target = "tests.tasks.datasets.test_labelled_dataset.Recorded"
        needs["dataset"] = (f"+task.dataset={{_target_:{target},_partial_:true,classes:10}}",)
    needed = "transformers" if choice.startswith("hf_") else choice
    if needed in ("transformers", "tensorboard"):
        pytest.importorskip(needed)
    for name in ("train/a", "val/b", "test/c"):  # what is known of a user's folder at the start
        save_image(tmp_path / "data" / name / "0.png")
    # what may not be downloaded has to be named
    named = (f"task.data_dir={tmp_path}",) if "mini_imagenet" in choice else ()
    config = RunConfig.of(composed(*needs.get(choice, named), f"{group}={choice}"))
    folder = RunFolder(tmp_path)
    callbacks = build_callbacks(config, folder, build(config).task)
    assert len(callbacks) == len(config.callbacks)
    loggers = build_loggers(config, folder)
    assert any(isinstance(logger, MetricsCsv) for logger in loggers) == (choice != "none")


# the others of a paper differ in ways and shots alone
LONG = [e for e in EXPERIMENTS if "5shot" in e or ("20way" in e and "raghu" not in e)]
# colour images take their time: one of them is enough
LONG += [e for e in EXPERIMENTS if re.search("imagenet|cifar|fc100", e) and "bertinetto" not in e]
# and of two algorithms in one paper, one
LONG += [e for e in EXPERIMENTS if re.search("first_order|hessian_free|_mlp_", e)]


# the fixture with the data of the experiments whose name has this
DATA = {
    "omniglot": "omniglot",
    "mini_imagenet": "made_up_mini_imagenet",
    "cifar_fs": "cifar100",
    "fc100": "cifar100",
    "image_field": "omniglot",
}


@pytest.mark.parametrize(
    "choice", [pytest.param(e, marks=[pytest.mark.slow] * (e in LONG)) for e in EXPERIMENTS]
)
def test_every_experiment_runs_two_steps(choice, tmp_path, request, monkeypatch):
    shorter = [
        f"experiment={choice}",
        "training.max_steps=2",
        "training.validate_every=2",  # pictures take longer than steps
        "training.log_every=1",
        "data.validation_episodes=2",
        "evaluation.episodes=2",
        "logger=csv",
    ]
    for name, data in DATA.items():
        if name in choice:
            images = "task.of" if choice == "image_field" else "task"
            shorter += [
                f"{images}.data_dir={request.getfixturevalue(data)}",
                f"{images}.cache_dir={request.getfixturevalue('cache')}",
                "data.meta_batch_size=2",
            ]
    if "omniglot" in choice:
        shorter.append("task.resample=lanczos")  # decoded once for all
    config = composed(*shorter)
    if config["algorithm"].get("eval_inner_steps", 0) > 3:
        shorter.append("algorithm.eval_inner_steps=3")
    if "filters" in config["model"]:
        shorter.append("model.filters=8")
    folder = write_run(composed(*shorter), shorter, tmp_path, "run")
    train(folder)
    assert len((folder.evaluations / "test" / "episodes.csv").read_text().splitlines()) == 1 + 2
    pictures = {"adaptation_curve", "learning_curve", "one_task"}
    pictures |= {"step_sizes"} if choice.startswith(("li2017", "antoniou2019")) else set()
    pictures |= set() if re.search("sinusoid|smoke|field", choice) else {"confusion"}
    assert {p.stem for p in folder.plots.iterdir()} == pictures


# protocols of the papers: what is published, in percent, for 5w1s, 5w5s, 20w1s, 20w5s
PUBLISHED = {
    "finn2017/omniglot": ([98.7], [99.9], [95.8], [98.9]),
    "finn2017/first_order_omniglot": ([98.3], [99.2], [89.4], [97.9]),
    "finn2017/omniglot_mlp": ([89.7], [97.5]),
    "finn2017/mini_imagenet": ([48.70], [63.11]),
    "finn2017/first_order_mini_imagenet": ([48.07], [63.15]),
    "nichol2018/omniglot": ([97.68, 95.39], [99.48, 98.90], [89.43, 88.14], [97.12, 96.65]),
    "nichol2018/mini_imagenet": ([49.97, 47.07], [65.99, 62.74]),
    "li2017/omniglot": ([99.53], [99.93], [95.93], [98.97]),
    "li2017/mini_imagenet": ([50.47], [64.03]),
    "antoniou2019/omniglot": ([99.47], [99.93], [97.65], [99.33]),
    "antoniou2019/mini_imagenet": ([52.15], [68.32]),
    "raghu2020/omniglot": (None, None, [96.2], [98.0]),
    "raghu2020/mini_imagenet": ([46.7], [61.5]),
    "rajeswaran2019/omniglot": ([99.16], [99.67], [94.46], [98.69]),
    "rajeswaran2019/hessian_free_omniglot": ([99.50], [99.74], [96.18], [99.14]),
    "rajeswaran2019/mini_imagenet": ([48.96],),
    "rajeswaran2019/hessian_free_mini_imagenet": ([49.30],),
    "oh2021/mini_imagenet": ([49.61, 49.65], [66.45, 65.32]),
    "bertinetto2019/cifar_fs": ([58.9, 56.8], [71.5, 70.8]),
    "bertinetto2019/first_order_cifar_fs": ([57.1], [72.2]),
    "oreshkin2018/fc100": ([38.0], [49.3]),
    "oreshkin2018/first_order_fc100": ([37.6], [49.1]),
}
# what the papers' programs take, by the longest beginning of the preset's name
META_STEPS = {
    "": 60_000,
    "finn2017/sinusoid": 70_000,
    "nichol2018": 100_000,
    "nichol2018/omniglot_20way": 200_000,
    "antoniou2019": 50_000,
    "rajeswaran2019/omniglot": 20_000,
    "rajeswaran2019/hessian_free_omniglot": 20_000,
    "oh2021": 300 * 100,
    "bertinetto2019/first_order_cifar_fs_5way_1shot": 30_000,
    "bertinetto2019/first_order_cifar_fs_5way_5shot": 10_000,
    "oreshkin2018/first_order_fc100_5way_1shot": 10_000,
    "oreshkin2018/first_order_fc100_5way_5shot": 5_000,
}
VALUES = {
    f"{name}_{ways}way_{shots}shot": [value / 100 for value in values]
    for name, rows in PUBLISHED.items()
    for (ways, shots), values in zip(((5, 1), (5, 5), (20, 1), (20, 5)), rows, strict=False)
    if values is not None
} | {"finn2017/sinusoid": [0.67, 0.38, 0.35], "finn2017/sinusoid_pretrain": [2.41, 2.23, 2.19]}


def test_every_published_row_whose_data_exists_has_a_preset():
    own = {"smoke", "image_field"}
    assert set(VALUES) | own == set(EXPERIMENTS)


@pytest.mark.parametrize("choice", sorted(VALUES))
def test_a_presets_published_values_stand_beside_ours_where_its_protocol_is_evaluated(choice):
    text = (CONF / "experiment" / f"{choice}.yaml").read_text()
    evaluation = re.search(r"metaloop-evaluate FOLDER (.*)", text)
    config = composed(f"experiment={choice}", *(evaluation.group(1).split() if evaluation else []))
    meta_steps = META_STEPS[max((name for name in META_STEPS if choice.startswith(name)), key=len)]
    assert config["training"]["max_steps"] == meta_steps
    of_schedule = {config["scheduler"].get(key, meta_steps) for key in ("T_max", "total_iters")}
    assert of_schedule <= {meta_steps, 0}  # 0: the learning rate stays
    names = ["query_loss", "accuracy", "accuracy@support_plus_one"]
    last = config["algorithm"]["eval_inner_steps"]
    metrics = {name: {"mean": [0.0] * (last + 1), "ci95": [0.0] * (last + 1)} for name in names}
    beside = add_ours(config["published"], {"metrics": metrics}, config)
    assert [value["mean"] for value in beside] == pytest.approx(VALUES[choice])
    for value in beside:
        assert re.match(r"[A-Z][\w-]+.* \d{4}", value["source"])
        if "@" in value["metric"]:
            assert value["metric"].split("@")[1] in config["evaluation"]["norm_modes"]


# Finn et al. 2017, table 1, and the authors' code; inner steps and tasks from protocols.md
@pytest.mark.parametrize(
    ("ways", "shots", "accuracy", "ci95", "steps", "eval_steps", "tasks"),
    [
        (5, 1, 0.987, 0.004, 1, 3, 32),
        (5, 5, 0.999, 0.001, 1, 3, 32),
        (20, 1, 0.958, 0.003, 5, 5, 16),
        (20, 5, 0.989, 0.002, 5, 5, 16),
    ],
)
def test_the_omniglot_presets_pin_the_papers_protocol(
    ways, shots, accuracy, ci95, steps, eval_steps, tasks
):
    config = composed(f"experiment=finn2017/omniglot_{ways}way_{shots}shot")
    assert (config["task"]["ways"], config["task"]["shots"], config["task"]["queries"]) == (
        ways,
        shots,
        shots,
    )
    assert config["algorithm"]["inner_steps"] == steps
    assert config["algorithm"]["eval_inner_steps"] == eval_steps
    # the paper's step size, on the sum over ways: 0.4 in 5-way, 0.1 in 20-way
    assert config["algorithm"]["inner_lr"] == pytest.approx({5: 0.4, 20: 0.1}[ways] * ways)
    assert config["data"]["meta_batch_size"] == tasks
    (published,) = config["published"]
    assert (published["mean"], published["ci95"], published["inner_step"]) == (
        accuracy,
        ci95,
        eval_steps,
    )


# Finn et al. 2017, section 5.2 and the authors' code, the scale of their loss taken into account
@pytest.mark.parametrize("shots", [1, 5])
def test_the_mini_imagenet_presets_pin_the_papers_protocol(shots):
    config = composed(f"experiment=finn2017/mini_imagenet_5way_{shots}shot")
    task, algorithm, model = (config[key] for key in ("task", "algorithm", "model"))
    assert (task["ways"], task["shots"], task["queries"], task["image_size"]) == (5, shots, 15, 84)
    assert (model["filters"], model["downsample"]) == (32, "max_pool")
    assert (algorithm["inner_steps"], algorithm["eval_inner_steps"]) == (5, 10)
    # their losses are sums over examples divided by the shots: ways times, and queries * ways /
    # shots times, the mean
    assert algorithm["inner_lr"] == pytest.approx(0.01 * 5)
    assert config["training"]["clip_value"] == pytest.approx(10 / (15 * 5 / shots), rel=0.003)
    # in every version of the program; the paper's text has 2 for 5 shots
    assert config["data"]["meta_batch_size"] == 4
    assert config["norm_adapts"] == "none"


# the papers' programs, where they are not what their texts or our defaults say
PROGRAMS = {
    "finn2017/sinusoid": {"algorithm.inner_lr": 0.001},
    "finn2017/sinusoid_pretrain": {"algorithm.inner_lr": 0.01},
    "finn2017/omniglot_mlp_5way_5shot": {"model.init_std": 0.01, "task.resample": "nearest"},
    "nichol2018/omniglot_20way_5shot": {
        "algorithm.inner_steps": 10,
        "evaluation.checkpoint": "last",
        "task.resample": "nearest",
    },
    "rajeswaran2019/hessian_free_omniglot_20way_5shot": {
        "norm_adapts": "all",
        "optimizer.eps": 1e-3,
        "evaluation.checkpoint": "last",
        "task.resample": "lanczos",
    },
    "oh2021/mini_imagenet_5way_5shot": {"evaluation.episodes": 1000, "data.meta_batch_size": 4},
    "antoniou2019/mini_imagenet_5way_5shot": {"algorithm.inner_lr": 0.1},
    "oreshkin2018/first_order_fc100_5way_5shot": {
        "data.meta_batch_size": 32,
        "optimizer.lr": 3e-3,
        "algorithm.inner_lr": 0.08,
        "scheduler.eta_min": 0,
        "training.clip_value": None,
        "evaluation.checkpoint": "last",
        "norm_adapts": "all",
        "model.filters": 64,
    },
    "bertinetto2019/first_order_cifar_fs_5way_5shot": {
        "optimizer.lr": 1.5e-3,
        "algorithm.inner_lr": 0.15,
        "model.filters": 32,
    },
}


@pytest.mark.parametrize("choice", sorted(PROGRAMS))
def test_a_preset_takes_what_made_its_published_row(choice):
    assert unmet_conditions({"where": PROGRAMS[choice]}, composed(f"experiment={choice}")) == {}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(CONF)))
def test_every_file_says_what_it_is_and_every_key_what_it_means(path: Path):
    lines = path.read_text().splitlines()
    first = lines[1] if lines[0].startswith("# @package") else lines[0]
    assert first.startswith("# ")
    if "experiment" in path.parts or path.name == "evaluate.yaml":
        return  # differences from what is explained elsewhere
    explained = False  # by a comment line just above
    for line in lines[lines.index(first) + 1 :]:
        if line.strip().startswith("hydra:"):
            break
        leaf = re.match(r"\s*([a-z_0-9]+): +\S", line)
        if line.strip().startswith("#"):
            explained = True
        elif not leaf:
            explained = False
        if leaf and not leaf.group(1).startswith("_") and "#" not in line:
            assert explained, f"{path.name}: {line}"


def test_the_keys_that_help_names_exist():
    help_text = yaml.safe_load((CONF / "train.yaml").read_text())["hydra"]["help"]["template"]
    listed = help_text.split("Keys that people change")[1].split("Sweeps (-m")[0]
    keys = set(re.findall(r"\b[a-z]+\.[a-z_]+\b", listed))
    assert len(keys) > 10
    config = composed("task=omniglot")
    for key in keys:
        section, name = key.split(".")
        assert name in config[section], key


@pytest.mark.parametrize(
    "change",
    [
        "algorithm=fomaml",
        "algorithm.inner_lr=0.4",
        "algorithm.inner_steps=2",
        "model=mlp",
        "task.rotations=false",
        "task.resample=lanczos",
        "task.queries=5",
        "norm_mode=inductive",
        "evaluation.split=validation",
        None,
    ],
)
def test_the_published_value_stands_only_beside_its_own_protocol(change):
    config = composed("experiment=finn2017/omniglot_5way_1shot", *([change] if change else []))
    results = {"metrics": {"accuracy": {"mean": [0.0] * 4, "ci95": [0.0] * 4}}}
    assert len(add_ours(config["published"], results, config)) == (change is None)
