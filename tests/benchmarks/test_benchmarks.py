"""The benchmarks that the documents' figures come from run, shortened."""

import json
import re

import pytest

from tests.conftest import ROOT, run_command, shared


def parts_of(path):
    return json.loads(path.read_text())["parts"]


def run(script, *arguments, cwd):
    return run_command(
        "python", str(ROOT / "benchmarks" / script), *arguments, cwd=cwd, timeout=900
    )


def test_a_step_is_measured_against_the_plain_loops_after_their_gradients_are_compared(tmp_path):
    short = ("--rounds", "2", "--turn", "0.01", "--meta-steps", "0", "--threads", "1")
    who = ("--who", "plain loop", "metaloop", "--works", "sinusoid", "omniglot_1")
    done = run(
        "against_peers.py", *who, *short, "--out", "out.json", "--plot", "out.png", cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out.png").stat().st_size > 10_000
    record = parts_of(tmp_path / "out.json")
    assert set(record) == {"sinusoid", "omniglot_1"}
    assert all("torch" in one["made"]["versions"] for one in record.values())
    assert "python benchmarks/against_peers.py --who" in (tmp_path / "out.md").read_text()
    found = {name: one["seconds"] for name, one in record.items()}
    assert all(set(of) == {"plain loop", "metaloop"} for of in found.values())
    assert all(
        len(values) == 2 and min(values) > 0 for of in found.values() for values in of.values()
    )
    # 32 tasks of nine passes over five support images and three over five of the query set, each
    # 2.65 million products; the first layer's need no way back to the images
    flops = [float(f) for f in re.findall(r"([\d.]+) GFLOP per meta-step", done.stdout)]
    assert flops[1] == pytest.approx(32 * (9 + 3) * 5 * 2 * 2.65e-3, rel=0.05)


@pytest.mark.slow
def test_the_whole_loop_is_measured_without_omniglots_archives_too(tmp_path):
    short = ("--rounds", "1", "--turn", "0.01", "--meta-steps", "144", "--threads", "1")
    who = ("--who", "plain loop", "metaloop", "--works", "sinusoid", "mini_imagenet")
    done = run("against_peers.py", *who, *short, "--out", "out.json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    record = parts_of(tmp_path / "out.json")
    for seconds in (one["seconds"] for one in record.values()):
        (whole,), (bare,) = seconds["metaloop-train"], seconds["metaloop"]
        assert bare / 2 < whole < 20 * bare  # the same work, and something around it


@pytest.mark.slow
def test_growth_is_measured_for_every_number_and_drawn(tmp_path):
    short = ("--rounds", "1", "--turn", "0.01", "--meta-steps", "12", "--threads", "1")
    done = run("scaling.py", *short, "--out", "out.json", "--plot", "out.png", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = parts_of(tmp_path / "out.json")["growth"]["seconds"]
    networks = {"image", "transformer", "adapters"}
    assert set(found) == {"tasks", "ways", "inner_steps", *networks, "processes"}
    assert (tmp_path / "out.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_published_schedule_is_one_command(tmp_path, omniglot):
    chosen = ("--data-dir", str(omniglot), "--device", "cpu", "--out", "runs")
    shorter = ("training.max_steps=2", "device.compile=false", "callbacks=minimal")
    done = run("omniglot_schedule.py", *chosen, "--", *shorter, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Accuracy \d+\.\d+% \+/- \d\.\d+%; published 98\.7%", done.stdout)


@pytest.mark.slow
def test_every_algorithm_is_trained_compared_and_stands_in_the_table(tmp_path):
    shorter = ("--meta-steps", "2", "--set", "evaluation.episodes=5")
    chosen = ("sinusoid", "--algorithms", "maml", "random", "--out", "out", "--plot", "out.png")
    done = run("every_algorithm.py", *chosen, *shorter, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = parts_of(tmp_path / "out.json")["sinusoid"]["rows"]
    assert list(rows) == ["maml", "random"]
    gap = rows["random"]["after"]["mean"] - rows["maml"]["after"]["mean"]
    assert rows["random"]["minus_first"]["episodes"]["mean"] == pytest.approx(gap)
    assert "training.max_steps=0" in rows["random"]["commands"][0]
    assert re.search(r"\| `maml` \| 10 \| .* \| - \| \d+ \| \d+ \|", done.stdout)
    assert re.search(r"\| `random` \| 10 \| .* \+/- .* \|", done.stdout)
    assert (tmp_path / "out.png").stat().st_size > 10_000


@pytest.mark.slow
def test_what_starts_from_another_algorithm_and_what_is_tested_otherwise_share_the_budget(
    tmp_path, omniglot
):
    chosen = ("omniglot", "--data-dir", str(omniglot), "--algorithms", "maml", "reptile", "pmf")
    shorter = ("--meta-steps", "5", "--set", "evaluation.episodes=8", "model.filters=4")
    done = run("every_algorithm.py", *chosen, "--out", "out", *shorter, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = parts_of(tmp_path / "out.json")["omniglot"]["rows"]
    (command,) = rows["pmf"]["commands"]  # half of the budget is its pretraining
    assert command.endswith("init_from=FOLDER evaluation.episodes=8 model.filters=4")
    assert re.findall(r"algorithm=(\w+) .*?max_steps=(\d)", command) == [
        ("pretrain", "2"),
        ("pmf", "3"),
    ]
    for name in ("reptile", "pmf"):
        gap = rows[name]["after"]["mean"] - rows["maml"]["after"]["mean"]
        assert rows[name]["minus_first"]["episodes"]["mean"] == pytest.approx(gap)


@pytest.mark.slow
def test_bfloat16_stands_beside_float32_for_the_same_episodes(tmp_path, omniglot):
    chosen = ("--data-dir", str(omniglot), "--meta-steps", "3", "--episodes", "8", "--seeds", "1")
    small = ("model.filters=8", "training.log_every=1", "device=cpu")
    done = run("precision.py", *chosen, "--runs", "runs", "--", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    table = re.findall(r"^\| 1 \| (\S+) .* \| (\S+) .* \| (\S+) .* \| \S+ \|$", done.stdout, re.M)
    for single, half, difference in table:
        assert float(difference) == pytest.approx(float(half) - float(single), abs=0.11)
    assert len(table) == 2  # said when the seed is done, and at the end
    results = [json.loads(path.read_text()) for path in tmp_path.rglob("test/results.json")]
    assert sorted(r["protocol"]["precision"] for r in results) == ["32-true", "bf16-mixed"]


@pytest.mark.slow
def test_memory_and_time_of_the_adjoints_are_measured_in_fresh_processes(tmp_path):
    done = run(
        "adjoint_memory.py",
        "--steps",
        "1",
        "2",
        "--repeats",
        "1",
        "--out",
        "out.json",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = parts_of(tmp_path / "out.json")["adjoints"]["rows"]
    assert {(row["adjoint"], row["inner_steps"]) for row in rows} == {
        (adjoint, steps) for adjoint in ("unrolled", "recomputed") for steps in (1, 2)
    }
    each = [one for row in rows for one in row["each"]]
    assert all(0 < one["above_baseline_mib"] < one["peak_mib"] for one in each)


@pytest.mark.slow
def test_learners_and_baselines_are_tuned_alike_and_compared_on_the_same_episodes(tmp_path):
    done = run(
        "against_baselines.py",
        "clinc150",
        *("--data-dir", str(shared("text_intents") / "clinc150")),
        *("--learners", "maml_plus_plus", "anil", "random"),
        *("--step-sizes", "0.2", "0.5"),
        *("--meta-lrs", "0.003", "--weight-decays", "0", "0.3"),
        *("--steps", "2", "--meta-steps", "2", "--pilot", "1", "--episodes", "16"),
        *("--out", "out.json"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = parts_of(tmp_path / "out.json")
    assert list(found["anil"]["pilots"]) == ["0.2", "0.5"]
    assert found["random"]["pilots"] == {}  # it takes no inner steps in training
    assert found["maml_plus_plus"]["choice"]["inner_lr"] is None  # those that it has learned
    for of in (found["anil"], found["random"]):
        choice = of["choice"]
        assert choice["inner_lr"] in (0.2, 0.5)
        assert choice["inner_steps"] in (1, 2)
        assert f"algorithm.inner_lr={choice['inner_lr']} " in of["test"]
    for of in found.values():
        assert len(of["after"]) == len(of["before"]) == 600
    # chance before adapting, since both heads are as they were initialised
    assert all(abs(sum(of["before"]) / 600 - 0.2) < 0.02 for of in found.values())
    gap = 100 * (sum(found["maml_plus_plus"]["after"]) - sum(found["random"]["after"])) / 600
    (row,) = re.findall(r"\| `random` .* \| (\S+) \+/- \S+ \|$", done.stdout, re.MULTILINE)
    assert float(row) == pytest.approx(gap, abs=0.051)


def test_the_loader_alone_is_measured_in_its_parts_and_whole(tmp_path):
    done = run("loader.py", "--count", "40", "--repeats", "1", "--out", "out.json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (part,) = parts_of(tmp_path / "out.json").values()
    assert {"drawing", "gathering and turning", "both, one process"} < set(part["meta_batches"])
    assert re.search(r"the bottleneck is .*(drawing|turning) \(\d+%\)", done.stdout)


def test_a_part_of_the_conformance_table_says_what_is_exact(tmp_path):
    some = ("LayerNorm", "TransformerEncoderLayer", "Embedding, renormalised")
    chosen = ("--only", *some, "--adjoints", "unrolled", "--out", "table")
    done = run("conformance.py", *chosen, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = parts_of(tmp_path / "table.json")
    norm, transformer, refused = (parts[name]["rows"][0] for name in some)
    # functorch issue 534: torch's layer norm is wrong where tasks are vectorised, and there alone
    assert norm["torch_vectorised"] > 1e-5
    assert norm["torch_one_by_one"] < 1e-12
    assert "not implemented" in transformer["torch_one_by_one"]
    assert all(
        row[way] < 1e-9 for row in (norm, transformer) for way in ("vectorised", "one_by_one")
    )
    assert "refused: Embedding(max_norm=0.5)" in refused["vectorised"]
    assert "| LayerNorm | unrolled | off by" in (tmp_path / "table.md").read_text()


@pytest.mark.slow
def test_adapters_are_compared_with_everything_from_one_pretrained_network(tmp_path):
    short = ("--pretraining", "4", "--meta-steps", "4", "--out", "out")
    data = ("--data-dir", str(shared("text_intents") / "clinc150"))
    done = run("adapter_accuracy.py", *data, *short, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = parts_of(tmp_path / "out.json")["clinc150"]["rows"]
    nothing, adapters, everything = (row["elements"] for row in rows)
    assert nothing == 0 < adapters < everything


@pytest.mark.slow
def test_adapters_take_less_memory_for_a_task_than_the_network(tmp_path):
    done = run("adapter_memory.py", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = parts_of(tmp_path / "out.json")["encoder"]["rows"]
    assert [row["rank"] for row in rows] == [None, 16, 4, 1]
    for key in ("state_bytes", "bytes_of_a_task"):
        assert sorted((row[key] for row in rows), reverse=True) == [row[key] for row in rows]


@pytest.mark.slow
def test_a_learned_start_of_fields_is_compared_with_a_random_one(tmp_path, omniglot):
    short = ("training.max_steps=2", "evaluation.episodes=4", "model.hidden=[8]")
    done = run(
        *("image_field.py", "--data-dir", str(omniglot), "--out", "out", "--set", *short),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = parts_of(tmp_path / "out.json")["omniglot"]["rows"]
    assert [row["given"] for row in rows] == ["all pixels"] * 2 + ["half of them"] * 2


@pytest.mark.slow
def test_learners_are_tested_in_the_domain_of_their_training_and_in_the_other(
    tmp_path, omniglot, cifar100
):
    data = ("--omniglot", str(omniglot), "--cifar", str(cifar100))
    short = ("--meta-steps", "2", "--out", "out")
    fewer = ("--set", "evaluation.episodes=4", "model.filters=4")
    done = run("transfer.py", *data, *short, *fewer, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = parts_of(tmp_path / "out.json")
    trained = ["pretrain on characters", "proto_maml on characters"]
    assert list(parts) == ["pretrain on nothing", *trained]
    for part in parts.values():
        for domain in ("characters", "photographs"):
            curve = part["tests"][domain]["mean"]
            assert len(curve) == 1 + 3  # before, and after each inner step
            # the share that is right of 4 tasks of 25 queries
            assert [100 * value for value in curve] == pytest.approx(
                [round(100 * value) for value in curve], abs=1e-3
            )
    assert "| nothing | `pretrain`" in (tmp_path / "out.md").read_text()


def test_every_benchmark_that_the_documents_name_is_there():
    records = (ROOT / "benchmarks" / "records").glob("*.md")
    pages = (ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*/*.md"), *records)
    told = "".join(path.read_text() for path in pages)
    named = set(re.findall(r"benchmarks/(\w+\.py)", told))
    assert named == {path.name for path in (ROOT / "benchmarks").glob("*.py")}
