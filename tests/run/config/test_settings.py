"""What the sections of values ask for is there, or the remedy is."""

from dataclasses import replace

import pytest
import torch

from metaloop.errors import UserError
from metaloop.run.config.construct import section
from metaloop.run.config.run_config import RunConfig
from metaloop.run.config.settings import Device
from tests.conftest import composed


@pytest.fixture
def config() -> RunConfig:
    return RunConfig.of(composed("device=cpu"))


def test_processes_are_counted_over_machines(config):
    device = replace(config.device, devices=3, nodes=2)
    assert (device.processes_here(), device.processes()) == (3, 6)
    assert replace(device, devices="auto").processes_here() == 1
    assert device.torch_device() == torch.device("cpu")
    assert device.gpus_here() == 0


@pytest.mark.parametrize("key", ["tasks_at_once", "chunks_at_once", "compile"])
def test_a_key_is_open_until_it_has_been_measured(key, config):
    assert not config.device.is_open
    assert replace(config.device, **{key: "auto"}).is_open


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("accelerator", ["gpu", "mps"])
def test_an_accelerator_that_is_not_here_is_refused_before_the_run(accelerator, config):
    with pytest.raises(UserError, match=f"device.accelerator={accelerator} .*cpu"):
        replace(config.device, accelerator=accelerator).require()
    replace(config.device, accelerator="auto").require()


def test_torchrun_must_have_started_as_many_processes_as_the_config_says(config, monkeypatch):
    device = replace(config.device, devices=2)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    device.require_started()
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match="makes 2 processes, and torchrun has started 3"):
        device.require_started()


def test_machines_that_nothing_starts_are_refused(config, monkeypatch):
    monkeypatch.delenv("SLURM_NTASKS", raising=False)
    with pytest.raises(UserError, match="device.nodes=2: every machine starts its own processes"):
        replace(config.device, nodes=2).require_started()
    monkeypatch.setenv("SLURM_NTASKS", "2")
    replace(config.device, nodes=2).require_started()


def test_half_precision_is_refused_with_the_reason():
    node = {**composed("device=cpu")["device"], "precision": "16-mixed"}
    with pytest.raises(UserError, match="float16 underflows in the inner loop.*bf16-mixed"):
        section(Device, node, "device")


def test_an_ensemble_needs_validations_to_choose_from(config):
    judged = replace(config.evaluation, checkpoint="ensemble")
    judged.require(replace(config.training, max_steps=100, validate_every=100))
    with pytest.raises(UserError, match="a run of 99 meta-steps is never validated"):
        judged.require(replace(config.training, max_steps=99, validate_every=100))
