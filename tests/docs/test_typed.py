"""The documents' scripts are typed, as a reader's own may be."""

import os
import subprocess
import sys

from tests.conftest import ROOT
from tests.docs.document import DOCUMENTS

OF_PEERS = {"with_learn2learn.py", "with_higher.py"}  # in their style, and not installed here


def test_the_documents_scripts_are_typed(tmp_path):
    for document in DOCUMENTS:
        for name, script in document.files.items():
            if name.endswith(".py") and name not in OF_PEERS:
                (tmp_path / name).write_text(script)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", tmp_path],  # strict, and `make lint` has left its cache
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": f"src:{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
