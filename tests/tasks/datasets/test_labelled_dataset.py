"""Any labelled Dataset as tasks: what is read, how it is split, refused, and kept by a run."""

import functools
import importlib.util
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset

from metaloop import ClassificationTask, Learner
from metaloop.errors import UserError
from metaloop.run.config.construct import construct
from metaloop.run.train import train
from metaloop.tasks import SPLITS, Augmentation, LabelledDataset, RandomStreams, Task

needs_torchvision = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed"
)
MADE = []


class Items(Dataset):
    """`classes` labels, six items of each; item i is of label i % classes."""

    def __init__(self, make=None, *, classes=10, label=lambda c: c, names=None):
        self.make = make or pattern
        self.count, self.label = classes, label
        if names is not None:
            self.classes = names

    def __len__(self):
        return 6 * self.count

    def __getitem__(self, i):
        return self.make(i), self.label(i % self.count)


class Recorded(Items):
    """What a config names: it says when it is made."""

    def __init__(self, classes: int = 10, first: int = 0):
        MADE.append(classes)
        super().__init__(pattern, classes=classes, label=lambda c: c + first)


def pattern(i):
    """Item i of ten classes: red the class, green i, and a blue corner."""
    pixels = np.zeros((6, 6, 3), dtype=np.uint8)
    pixels[..., 0], pixels[..., 1], pixels[5, 5, 2] = 20 * (i % 10), i, 255
    return pixels


def opened(dataset=None, **options):
    task = ClassificationTask.of(dataset, **{"ways": 2, "shots": 1, "queries": 2, **options})
    task.prepare()
    task.setup()
    return task


def episodes(task, split="train", count=50):
    drawn = task.draw(split, RandomStreams(0, split, torch.arange(count)))
    return task.gather(drawn, torch.float32), drawn


def names_in(task):
    return {s: sorted(task.class_name(int(c)) for c in task.split_classes[s]) for s in SPLITS}


KINDS = {
    "Pillow": lambda i: Image.fromarray(pattern(i)),
    "numpy bytes, channels last": pattern,
    "torch bytes, channels first": lambda i: torch.from_numpy(pattern(i)).permute(2, 0, 1),
    "floats as ToTensor's": lambda i: torch.from_numpy(pattern(i)).permute(2, 0, 1) / 255,
}


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_every_kind_become_the_same_episodes(kind):
    task = opened(Items(KINDS[kind]))
    assert isinstance(task, LabelledDataset)
    assert (task.input_shape, task.values, task.output_size) == ((3, 6, 6), "bytes", 2)
    assert task.store.counts.tolist() == [6] * 10
    found, drawn = episodes(task)
    images = torch.cat([found.support.inputs, found.query.inputs], 1)
    labels = torch.cat([found.support.targets, found.query.targets], 1)
    red = (255 * images[:, :, 0, 0, 0]).round().long()
    assert torch.equal(red, 20 * found.classes.gather(1, labels))
    green = (255 * images[:, :, 1]).round()
    assert (green == green[..., :1, :1]).all()  # one item is one image
    assert set(green[..., 0, 0].flatten().tolist()) <= set(range(60))
    assert drawn.images.shape == (50, 2, 3)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda i: torch.tensor([i, 0.5 * i]), (2,)),
        (lambda i: np.array([i, 2 * i, 3 * i]), (3,)),
        (lambda i: [float(i), 1.0], (2,)),
        (lambda i: float(i), (1,)),
        (lambda i: torch.full((4, 5), 0.1 * i), (4, 5)),
        (lambda i: torch.full((3, 2, 2), i - 1.5), (3, 2, 2)),  # as Normalize leaves an image
        (lambda i: torch.full((7, 2, 2), i, dtype=torch.uint8), (7, 2, 2)),  # no channels
    ],
)
def test_numbers_are_not_changed(make, shape):
    task = opened(Items(make))
    assert (task.input_shape, task.values) == (shape, "numbers")
    found, drawn = episodes(task)
    first = torch.stack([torch.as_tensor(make(i)).float().reshape(shape) for i in range(60)])
    of_class = {
        c: {tuple(first[i].flatten().tolist()) for i in range(c, 60, 10)} for c in range(10)
    }
    for inputs, targets, ids in zip(*found.query, drawn.classes, strict=True):
        for x, label in zip(inputs, targets, strict=True):
            assert tuple(x.flatten().tolist()) in of_class[int(ids[label])]


def test_each_item_is_read_once_whatever_it_draws():
    read = Counter()

    def noisy(i):
        read[i] += 1
        return torch.rand(4)

    torch.manual_seed(3)
    before = torch.get_rng_state()
    task = opened(Items(noisy))
    assert torch.equal(torch.get_rng_state(), before)
    one, other = episodes(task)[0], episodes(task)[0]
    assert torch.equal(one.support.inputs, other.support.inputs)
    assert read == {0: 2, **dict.fromkeys(range(1, 60), 1)}  # the first says the shape, too


def test_one_data_sets_classes_are_divided_by_fractions_and_seed():
    task = opened(Items(), fractions=[0.5, 0.2, 0.3])
    names = names_in(task)
    assert [len(names[s]) for s in SPLITS] == [5, 2, 3]
    assert sorted(n for s in SPLITS for n in names[s]) == [str(c) for c in range(10)]
    assert names_in(opened(Items(), fractions=[0.5, 0.2, 0.3])) == names
    assert names_in(opened(Items(), fractions=[0.5, 0.2, 0.3], split_seed=1)) != names
    with pytest.raises(UserError, match=r"task\.fractions=\[0\.5, 0\.2, 0\.4\] must be the shares"):
        opened(Items(), fractions=[0.5, 0.2, 0.4])


def test_three_data_sets_are_the_three_splits_and_share_no_class():
    three = {
        "train": Items(classes=4, label=lambda c: f"a{c}"),
        "validation": Items(classes=3, label=lambda c: f"b{c}"),
        "test": Items(classes=2, label=lambda c: f"c{c}"),
    }
    task = opened(**three)
    assert names_in(task) == {
        "train": ["a0", "a1", "a2", "a3"],
        "validation": ["b0", "b1", "b2"],
        "test": ["c0", "c1"],
    }
    three["test"] = Items(classes=3, label=lambda c: "a3" if c == 2 else f"c{c}")
    with pytest.raises(
        UserError, match=r"class 'a3' is in task\.train and in task\.test.*disjoint=f"
    ):
        opened(**three)
    task = opened(**three, disjoint=False)
    assert names_in(task)["test"] == ["a3", "c0", "c1"]
    ids = {s: set(task.split_classes[s].tolist()) for s in SPLITS}
    assert not ids["train"] & ids["test"]  # another class, with images of its own data set


def test_equal_labels_with_different_names_are_different_classes():
    task = opened(
        train=Items(classes=2, names=["cat", "dog"]),
        validation=Items(classes=2, names=["hen", "pig"]),
        test=Items(classes=2, names=["owl", "rat"]),
    )
    assert names_in(task) == {
        "train": ["cat", "dog"],
        "validation": ["hen", "pig"],
        "test": ["owl", "rat"],
    }
    assert task.classes == 6  # for a head over all classes


@pytest.mark.parametrize("label", [np.int64, torch.tensor, str, lambda c: np.array([c])])
def test_labels_are_whole_numbers_and_texts_of_any_library(label):
    assert len(opened(Items(label=label)).store.names) == 10


@pytest.mark.filterwarnings("ignore:Nothing can be learned")
def test_images_are_resized_and_converted_to_the_same_channels():
    sizes = Items(lambda i: Image.new(("L", "RGB", "RGBA")[i % 3], (5 + i % 4, 6), 255 * (i % 2)))
    with pytest.raises(
        UserError, match=r"dataset\[1\] is coloured, not grey: With task.channels=null"
    ):
        opened(sizes, image_size=4)
    with pytest.raises(
        UserError,
        match=r"dataset\[1\] has 6 x 6 pixels, but the first item 6 x 5\. Set a size ",
    ):
        opened(sizes, channels=1)
    task = opened(sizes, channels=1, image_size=4)
    assert task.input_shape == task.store.shape == (1, 4, 4)


def test_augmentation_changes_images_and_rotations_are_classes():
    plain = {"crop": 0, "flip": 0.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0}
    task = opened(
        Items(names=[f"n{c}" for c in range(10)]),
        augmentation=Augmentation(**{**plain, "brightness": 0.5}),
        rotations=True,
    )
    assert task.classes == 40
    found, drawn = episodes(task)
    images = task.gather_pixels(drawn)[:, :, 0].double() / 255
    assert (found.support.inputs - images).abs().max() > 0.01
    for option in ({"image_size": 4}, {"channels": 1}, {"rotations": True}):
        with pytest.raises(UserError, match=rf"task\.{next(iter(option))} is for images of bytes"):
            opened(Items(lambda i: [1.0, 2.0]), **option)


class Endless(IterableDataset):
    def __iter__(self):
        yield from ()


def broken(i):
    if i == 7:
        raise OSError("cut short")
    return pattern(i)


REFUSED = {
    r"task\.dataset is a Endless, whose items have no index": Endless(),
    r"dataset\[0\] is a int, not a pair \(input, label\)": range(30),
    r"dataset\[0\] is a tuple of 3, not a pair": [(1, 2, 3)] * 30,
    r"label of dataset\[0\] is a float, but a class must be an integer": Items(label=float),
    r"label of dataset\[0\] is a NoneType": Items(label=lambda c: None),
    r"label of dataset\[0\] is a tuple of 2": Items(label=lambda c: (c, c)),
    r"label of dataset\[0\] is a ndarray of shape \[2\]": Items(label=lambda c: np.zeros(2)),
    r"input of dataset\[0\] is a str, neither an image": Items(lambda i: "text"),
    r"input of dataset\[0\] is a dict": Items(lambda i: {"x": i}),
    r"dataset\[3\] has the shape \[3\], but the first": Items(lambda i: [1.0] * (2 + (i == 3))),
    r"dataset\[5\] contains NaN": Items(lambda i: [1.0, float("nan") if i == 5 else 0.0]),
    r"dataset\[7\] cannot be read \(OSError: cut short\)\. .*skip_unusable=true": Items(broken),
    r"dataset\[2\] is not an image of bytes, .*task\.values=numbers": Items(
        lambda i: torch.full((1, 4, 4), 0.123 if i == 2 else 0.0)
    ),
    r"labels 1 and '1' of task\.dataset have the same name '1'": Items(
        label=lambda c: (c, "1")[c == 2]
    ),
    r"task\.dataset has no items": [],
    r"A 2-way episode needs 2 classes with 3 images": Items(classes=3),
}


@pytest.mark.parametrize("says", REFUSED)
def test_objects_that_are_not_labelled_data_sets_are_refused(says):
    with pytest.raises(UserError, match=says):
        opened(REFUSED[says])


def test_unusable_items_are_left_out_when_asked(capsys):
    task = opened(Items(broken), skip_unusable=True)
    assert task.store.counts.sum() == 59
    assert "Left out 1 unusable items:\n" in capsys.readouterr().out


def test_one_or_three_data_sets_must_be_given():
    for given in ({}, {"train": Items()}, {"dataset": Items(), "test": Items()}):
        with pytest.raises(UserError, match=r"Give one data set, task\.dataset, .*or three"):
            opened(**given)


OWN = f"{__name__}.Recorded"
SMALL = ("task=dataset", "task.ways=2", "task.queries=2", "model=mlp", "training.max_steps=1")


def test_a_run_needs_its_data_set_while_it_trains_and_never_after(make_run, monkeypatch, tmp_path):
    MADE.clear()
    folder = make_run(*SMALL, f"task.dataset._target_={OWN}", "+task.dataset.classes=10")
    train(folder)
    assert MADE
    text = folder.config.read_text()
    assert "values: bytes" in text
    monkeypatch.setattr(Recorded, "__init__", lambda self, classes: pytest.fail("it was made"))
    learner = Learner.load(folder.path, checkpoint="last")
    for label in ("a", "b"):
        for i in range(2):
            place = tmp_path / "support" / label / f"{i}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pattern(i)).resize((9, 9)).save(place)
    given = learner.task.read_examples(tmp_path / "support", skip_unusable=False)
    assert given.inputs.shape == (4, 3, 6, 6)
    adapted = learner.adapt(given.inputs, given.labels)
    assert adapted.predict(given.inputs).tolist() == adapted.predict(given.inputs / 255).tolist()


def test_a_learner_of_numbers_refuses_image_bytes(tmp_path):
    task = opened(Items(lambda i: torch.full((3, 2, 2), i - 1.5)))
    with pytest.raises(
        UserError, match=r"x contains bytes \(uint8\), but the run was trained on numb"
    ):
        task.scale(torch.zeros(1, 3, 2, 2, dtype=torch.uint8), torch.float32)
    Image.new("RGB", (2, 2)).save(tmp_path / "x.png")
    with pytest.raises(UserError, match=r"Adapt in Python \(Learner\.adapt\)"):
        task.read_examples(tmp_path, skip_unusable=False)


def test_the_keys_of_a_data_set_are_named_where_they_are_wrong():
    node = {"_target_": "metaloop.LabelledDataset", "ways": 2, "shots": 1}
    made = {"_target_": OWN, "_partial_": True}
    off = {"_target_": None, "_partial_": True}
    task = construct({**node, "dataset": {**made, "classes": 10}, "test": off}, Task, key="task")
    assert task.input_shape == (3, 6, 6)
    for dataset, says in {
        ("torch.nn.ReLU", ""): r"task\.dataset\._target_=torch\.nn\.ReLU makes a ReLU, but a",
        (OWN, "clases"): r"task\.dataset\.clases is unknown\. Did you mean classes",
    }.items():
        target, argument = dataset
        wrong = {"_target_": target, "_partial_": True, **({argument: 1} if argument else {})}
        with pytest.raises(UserError, match=says):
            construct({**node, "dataset": wrong}, Task, key="task")
    failing = functools.partial(Recorded, root="x")
    with pytest.raises(UserError, match=r"task\.train cannot be created \(TypeError: .*root"):
        opened(train=failing, validation=Items(), test=Items())


@needs_torchvision
def test_torchvisions_images_are_decoded_once_into_the_cache(tmp_path):
    from torchvision.datasets import ImageFolder

    for c in range(6):
        for i in range(3):
            place = tmp_path / "data" / f"c{c}" / f"{i}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pattern(10 * i + c)).save(place)
    make = functools.partial(ImageFolder, root=str(tmp_path / "data"))
    options = {"cache_dir": str(tmp_path / "cache"), "fractions": [0.4, 0.3, 0.3]}
    task = opened(make, **options)
    assert task.items.datasets["dataset"].classes == sorted(task.store.names)
    (cache,) = (tmp_path / "cache").glob("dataset-3x6x6-*/")
    (cache / "labels.json").unlink()  # as a killed process leaves it: they are read again
    again = opened(make, **options)
    assert torch.equal(episodes(again)[0].support.inputs, episodes(task)[0].support.inputs)
    labels = cache / "labels.json"
    assert Counter(labels.read_text().strip("[]").split(", ")) == {str(c): 3 for c in range(6)}
    Image.fromarray(255 - pattern(0)).save(tmp_path / "data" / "c0" / "0.png")
    changed = opened(make, **options)
    assert not torch.equal(
        changed.store.gather(torch.arange(18)), task.store.gather(torch.arange(18))
    )


@needs_torchvision
def test_torchvisions_fake_data_trains(make_run):
    folder = make_run(
        *SMALL,
        "task.dataset._target_=torchvision.datasets.FakeData",
        "+task.dataset={size:200,image_size:[3,8,8],num_classes:12}",
    )
    train(folder)
    assert folder.last_checkpoint.is_file()
