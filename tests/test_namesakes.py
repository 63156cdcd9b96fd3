"""A module has a test of its name: who changes one finds what it promises, and adds to that."""

import ast
import functools

from tests.test_layering import FILES, SOURCE, nodes

TESTS = SOURCE.parents[1] / "tests"
# Modules with public names that have none, by room: they are tested whole by what uses them.
# The list only becomes shorter.
LEFT = {
    "adapted": "adapted arrays curve ways",
    "adapters": "attention kinds",
    "algorithms": (
        "algorithm anil boil cavia fomaml imaml linear_head maml maml_plus_plus "
        "meta_curvature meta_sgd pmf pretrain proto_maml prototypical r2d2 reptile"
    ),
    "algorithms/gradient_based": "composition gradient_based outer_loss start",
    ".": "arguments episode errors",
    "callbacks": "agreement best_checkpoint checkpoint_io pictures resume_checkpoint",
    "folders": "atomic_write changes run_lock sweep_folder user_path",
    "inner_loop": (
        "adjoint curvature hessian inner_step newton norms objective part per_step recomputed "
        "schedule step_size transformations update"
    ),
    "inner_loop/norm_modes": "frozen inductive norm_mode per_step support_plus_one transductive",
    "meta_gradient": "adaptation_path chunks known_exact model_copy random_state",
    "meta_gradient/preflight": "cause check checks fault functions trial verdict",
    "models": (
        "conv4 fourier_features hf_encoder hf_image_encoder images mlp resnet12 siren vectors "
        "wide_resnet word_attention"
    ),
    "plots": (
        "adaptation_curve comparison confusion field fit image_episode learning_curve "
        "one_task predictions reliability step_sizes title trajectories validation_curves"
    ),
    "process": "memory parent_death signals slurm_requeue",
    "run": "__main__",
    "run/board": "row",
    "run/report": "judged sections sweep",
    "substitutes": "ctc distances embedding mode normalise precision transforms weight_norm",
    "tasks/datasets": "item_values labelled_items",
    "tasks/fields": "pixels",
    "tasks/images": (
        "class_folders cub image_dataset image_sources mini_imagenet omniglot_files "
        "tiered_imagenet uniform_classes"
    ),
    "tasks": "kinds mixed_shapes",
    "tasks/readers": (
        "arrays deep_images given given_images given_rows given_sentences table visible_files"
    ),
    "tasks/sources": "class_splits",
    "tasks/synthetic": "curve harmonic sinusoid_line",
    "tasks/tables": "array_rows row_classes row_reader scales",
    "tasks/text": "tokens",
}


@functools.cache
def without_namesake() -> dict[str, str]:
    """The modules with classes or functions for others, and without a test of their name."""
    found: dict[str, list[str]] = {}
    for path in FILES:
        room = path.parent.relative_to(SOURCE)
        is_tested = (TESTS / room / f"test_{path.stem}.py").is_file()
        if path.name != "__init__.py" and not is_tested and has_public_names(path):
            found.setdefault(room.as_posix(), []).append(path.stem)
    return {room: " ".join(names) for room, names in found.items()}


def has_public_names(path) -> bool:
    module, *_ = nodes(path)
    defined = (n.name for n in module.body if isinstance(n, ast.ClassDef | ast.FunctionDef))
    return any(not name.startswith("_") for name in defined)


def test_a_module_with_public_names_has_a_test_of_its_name():
    for room, names in without_namesake().items():
        missing = set(names.split()) - set(LEFT.get(room, "").split())
        assert not missing, f"{room}: write tests/{room}/test_NAME.py for {missing}"


def test_what_has_its_test_by_now_leaves_the_list():
    found = without_namesake()
    for room, names in LEFT.items():
        done = set(names.split()) - set(found.get(room, "").split())
        assert not done, f"take {done} off the list of {room}"
