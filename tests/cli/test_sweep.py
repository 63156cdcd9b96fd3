"""metaloop-sweep shows a table of a sweep, and writes it."""

from tests.run.sweeps.jobs import job


def test_the_command_shows_a_table_and_writes_it_beside_a_plot(tmp_path, said):
    for seed in (0, 1):
        job(tmp_path, f"a{seed}", ["algorithm=maml", f"seed={seed}"], test=0.9 + 0.02 * seed)
    broken = job(tmp_path, "b", ["algorithm=anil", "seed=0"], "failed", error="UserError: no data")
    out = said("sweep", str(tmp_path)).out
    assert "0.9000 +/- 0.0200" in out
    assert "0.9100 +/- 0.1271" in out  # 12.7062 * 0.0141421 / sqrt(2)
    assert f"failed: {broken.path}  UserError: no data" in out
    assert (tmp_path / "sweep.csv").is_file()
    assert (tmp_path / "sweep.png").stat().st_size > 5000
    wrong = said("sweep", str(tmp_path / "nothing"), status=1)
    assert wrong.err.startswith("Error: There is no folder")
