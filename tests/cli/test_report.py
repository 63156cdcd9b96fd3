"""metaloop-report writes a page where it is told, or names what is wrong."""

import pytest


def test_the_command_writes_into_the_folder_or_where_it_is_told(make_run, tmp_path, said):
    run = make_run()
    told = said("report", str(run.path)).out
    assert told.strip() == f"Report: {run.path / 'report.html'}"
    assert (run.path / "report.html").is_file()
    said("report", f"run={run.path}", "--out", str(tmp_path / "mine.html"))
    assert "maml on Sinusoid" in (tmp_path / "mine.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "There is no folder nowhere"),
        (["empty"], "empty contains no runs"),
        (["broken"], "config.yaml cannot be read"),
        (["broken", "--out", "nowhere/x.html"], "--out=nowhere/x.html has to be a file in"),
    ],
)
def test_mistakes_are_named(tmp_path, monkeypatch, said, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/config.yaml").write_text("x: [")
    assert says in said("report", *arguments, status=1).err
    assert not list(tmp_path.rglob("*.html"))
