"""Every command says in words that it cannot write where its run lies."""

import subprocess
import sys

import pytest

from metaloop.run.worker import work
from tests.conftest import ROOT
from tests.run.stopped_runs import write
from tests.run.test_faults import IN_A_NAMESPACE, namespaces_can_be_had

# a file system that its own processes see, with a run on it, then read-only; and a command
SCRIPT = """
mount -t tmpfs tmpfs "$1" && cp -r "$2" "$1/run" && mount -o remount,ro "$1" || exit 9
shift 2
exec "$@"
"""
COMMANDS = {
    "train": ("output_dir={disk}/runs", "experiment=smoke"),
    "evaluate": ("run={disk}/run",),
    "resume": ("{disk}/run",),
    "adapt": ("run={disk}/run", "support={table}"),
    "sweep": ("{disk}",),
    "report": ("{disk}/run",),
}


@pytest.mark.slow
def test_each_command_on_a_read_only_disk(tmp_path):
    if not namespaces_can_be_had():
        pytest.skip("no file system can be mounted here: unshare --user --mount is not permitted")
    disk, table = tmp_path / "disk", tmp_path / "table.csv"
    disk.mkdir()
    table.write_text("x,y\n0.1,0.2\n0.3,0.5\n")
    run = write(tmp_path / "made", "training.max_steps=2", "callbacks=minimal")
    assert work([str(run.path)]) == 0
    in_a_namespace = [*IN_A_NAMESPACE, "sh", "-c", SCRIPT, "sh", str(disk), str(run.path)]
    for command, arguments in COMMANDS.items():
        start = f"from metaloop.cli.{command} import main; main()"
        given = [argument.format(disk=disk, table=table) for argument in arguments]
        done = subprocess.run(
            [*in_a_namespace, sys.executable, "-c", start, *given],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1, f"{command}: {done.stdout}{done.stderr}"
        assert "read-only" in done.stderr.lower(), command
        assert "Traceback" not in done.stderr, command
        if command == "sweep":
            assert "completed" in done.stdout  # the table is shown all the same
