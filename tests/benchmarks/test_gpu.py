"""The stages for a GPU, rehearsed on a processor: every item leaves its values or its reason."""

import importlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.conftest import ROOT

SCRIPT = ROOT / "benchmarks" / "gpu.py"
REHEARSAL = ("--device", "cpu", "--tiny")
ADJOINTS = ("unrolled", "recomputed")


@pytest.fixture(scope="module")
def reference_file(reference, tmp_path_factory):
    path = tmp_path_factory.mktemp("reference") / "meta_gradients.npz"
    np.savez(path, **reference)
    return path


@pytest.fixture
def gpu(monkeypatch, capsys):
    """gpu.py's main in this process: its exit status and what it printed."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    main = importlib.import_module("gpu").main

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        return main(), capsys.readouterr().out

    return call


def rehearse(out, cache, *arguments):
    """Run gpu.py as a user does; return its records' items by stage."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *REHEARSAL, "--out", str(out), *map(str, arguments)],
        env={**os.environ, "METALOOP_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.stem: items_of(path) for path in out.glob("*.json")}


def items_of(path):
    items = json.loads(path.read_text())["items"]
    for name, item in items.items():
        assert item["state"] in ("passed", "skipped", "untested"), (name, item["reason"])
        assert (item["reason"] is None) == (item["state"] == "passed"), name
        assert (item["values"] == {}) == (item["state"] != "passed"), name
    return items


def states(items):
    return {name: item["state"] for name, item in items.items()}


def test_what_takes_seconds_is_rehearsed(tmp_path, reference_file, cache):
    chosen = ("reference, float32, vmapped", "bf16, vmapped", "CUDA graph", "NCCL", "TorchBench")
    networks = ("recurrent layers, float64", "attention, bf16")
    found = rehearse(
        tmp_path,
        cache,
        *("--stages", "right", "fast", "conformance"),
        *("--items", *chosen, *networks, "one step", "memory"),
        *("--reference", reference_file),
    )
    graphs = {f"reference, {p}, CUDA graph": "skipped" for p in ("float64", "float32", "TF32")}
    graphs["reference, bf16, CUDA graph"] = "skipped"
    assert states(found["right"]) == {
        "reference, float32, vmapped": "passed",
        "reference, bf16, vmapped": "passed",
        "two ranks on two cards, NCCL": "untested",
        **graphs,
    }
    errors = [found["right"][f"reference, {p}, vmapped"]["values"] for p in ("float32", "bf16")]
    assert len(errors[0]["errors"]) == len(errors[1]["errors"]) == 16
    assert 0 < errors[0]["largest"] < 1e-4 < errors[1]["largest"]
    assert len(found["fast"]) == 4
    exact, half = (found["conformance"][name]["values"] for name in networks)
    of_each = [f"{name}, {adjoint}" for name in ("LSTM", "GRU") for adjoint in ADJOINTS]
    assert list(exact["errors"]) == of_each
    rows = (tmp_path / "conformance.md").read_text().splitlines()
    assert [row.split(" | ")[:2] for row in rows[2:4]] == [[f"| {n}", "passed"] for n in networks]
    assert "--out OUT --stages" in rows[-1]
    assert "--reference REFERENCE`, commit " in rows[-1]
    assert f"torch {torch.__version__}" in rows[-1]
    assert exact["largest"] < 1e-9 < 1e-4 < half["largest"] < half["tolerance"]


@pytest.mark.slow
def test_every_stage_is_rehearsed_whole(tmp_path, reference_file, omniglot, cache):
    data = ("--reference", reference_file, "--data-dir", omniglot)
    stages = ("right", "fast", "omniglot", "faithful", "conformance")
    found = rehearse(tmp_path, cache, "--stages", *stages, *data)
    assert {stage: len(items) for stage, items in found.items()} == {
        "right": 16,
        "fast": 4,
        "omniglot": 1,
        "faithful": 5,
        "conformance": 11,
    }
    assert set(states(found["faithful"]).values()) == {"passed"}
    (row,) = found["omniglot"]["MAML, 5-way 1-shot"]["values"]["beside the published"]
    assert row["published"] == {"mean": 0.987, "ci95": 0.004}
    assert row["difference"] == pytest.approx(row["ours"]["mean"] - 0.987)
    resumed = found["right"]["killed and resumed"]["values"]
    assert 0 < resumed["killed_after_saving_meta_step"] < resumed["meta_steps"]
    assert all(json.loads(p.read_text())["is_complete"] for p in tmp_path.glob("*.json"))


def test_an_item_that_fails_is_recorded_and_the_others_still_run(tmp_path, reference, gpu):
    wrong = dict(reference)
    wrong["mlp/anil/theta/4.bias"] = 2 * wrong["mlp/anil/theta/4.bias"]
    np.savez(tmp_path / "wrong.npz", **wrong)
    (tmp_path / "torn.npz").write_text("no arrays")
    chosen = ("--stages", "right", "--items", "float64, vmapped", "NCCL", *REHEARSAL)
    found = []
    for name in ("wrong.npz", "torn.npz"):
        out = tmp_path / name.replace(".npz", "")
        status, said = gpu(*chosen, "--out", out, "--reference", tmp_path / name)
        assert (status, "right: reference, float64, vmapped" in said) == (1, True)
        found.append(json.loads((out / "right.json").read_text())["items"])
    for items in found:
        assert states(items) == {
            "reference, float64, vmapped": "failed",
            "two ranks on two cards, NCCL": "untested",
        }
    one, torn = (items["reference, float64, vmapped"] for items in found)
    off = [part.partition(":")[0] for part in one["reason"].split("; ")]
    assert off == ["mlp/anil/unrolled", "mlp/anil/recomputed"]
    assert len(one["values"]["errors"]) == 16  # the others' are kept
    assert torn["reason"].startswith("ValueError: ")


def test_a_failed_item_runs_again_alone_and_its_record_keeps_the_others(
    tmp_path, reference_file, gpu
):
    chosen = ("--stages", "right", *REHEARSAL, "--out", tmp_path)
    missing = tmp_path / "missing.npz"
    gpu(*chosen, "--reference", missing, "--items", "float64, vmapped", "NCCL")
    before = json.loads((tmp_path / "right.json").read_text())
    assert "name them by --reference" in before["items"]["reference, float64, vmapped"]["reason"]
    gpu(*chosen, "--reference", reference_file, "--items", "float64, vmapped")
    after = json.loads((tmp_path / "right.json").read_text())
    assert after["items"]["reference, float64, vmapped"]["state"] == "passed"
    nccl = "two ranks on two cards, NCCL"
    assert after["items"][nccl] == before["items"][nccl]
    assert [item["run"] for item in after["items"].values()] == [1, 0]
    assert [run["card"] for run in after["runs"]] == ["none, a processor"] * 2
    assert not after["is_complete"]  # most items have never run


def test_a_stage_that_was_cut_short_goes_on_and_a_whole_one_starts_again(tmp_path, gpu):
    record = {"is_complete": False, "items": {}, "runs": []}
    kept = {"state": "passed", "run": 0, "seconds": 1, "reason": None, "values": {"kept": 1}}
    record["items"] = {"MAML, 5-way 1-shot": kept}
    path = tmp_path / "omniglot.json"
    path.write_text(json.dumps(record))
    said = [gpu("--stages", "omniglot", "--out", tmp_path, *REHEARSAL)[1]]
    assert items_of(path) == record["items"]
    assert json.loads(path.read_text())["is_complete"]
    said.append(gpu("--stages", "omniglot", "--out", tmp_path, *REHEARSAL)[1])
    assert states(items_of(path)) == {"MAML, 5-way 1-shot": "skipped"}  # without data
    assert ["it has passed before" in one for one in said] == [True, False]


def test_the_next_stage_is_the_first_without_a_whole_record(tmp_path, gpu):
    for stage in ("right", "fast", "omniglot", "conformance"):
        (tmp_path / f"{stage}.json").write_text('{"is_complete": true, "items": {}, "runs": []}')
    assert gpu("--out", tmp_path, *REHEARSAL)[0] == 0  # without data
    items = items_of(tmp_path / "faithful.json")
    assert len(items) == 5
    assert all("--data-dir" in item["reason"] for item in items.values())
    assert "Every stage has a record" in gpu("--out", tmp_path, *REHEARSAL)[1]


def test_items_that_the_minutes_do_not_hold_wait_for_the_next_time(tmp_path, omniglot, gpu):
    arguments = ("--out", tmp_path, *REHEARSAL, "--data-dir", omniglot)
    gpu("--stages", "right", "faithful", "--minutes", "0", *arguments)
    for stage in ("right", "faithful"):
        items = json.loads((tmp_path / f"{stage}.json").read_text())["items"]
        assert set(states(items).values()) == {"waiting"}
        (line,) = (line for line in gpu("--list", *arguments)[1].splitlines() if stage in line)
        assert line.split()[1:3] == ["to", "do"]


def test_a_trained_row_falls_short_by_its_value_its_time_or_the_way_it_was_computed(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    published = importlib.import_module("gpu_stages.published")
    good = {"metric": "accuracy", "difference": 0.001, "agrees": True}
    bad = {"metric": "accuracy", "difference": -0.02, "agrees": False}
    eagerly = "Not compiled, running eagerly: no compiler"
    values = {"beside the published": [good, bad], "warnings": ["few episodes", eagerly]}
    assert published.below(values) == ["below the published value: accuracy -0.0200"]
    assert published.below({"beside the published": [good]}) == []
    assert published.missed(values, 200.0, 180.0) == [eagerly, "it took 200 s, not under 180"]
    assert published.missed({"warnings": ["few episodes"]}, 170.0, 180.0) == []
    assert published.missed({"warnings": []}, 500.0, None) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_without_a_gpu_the_error_names_the_rehearsal(tmp_path, gpu):
    status, said = gpu("--out", tmp_path, "--stages", "right")
    assert status == 2
    assert "Rehearse with --device cpu --tiny" in said
    assert not list(tmp_path.iterdir())
