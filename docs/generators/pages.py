"""Write all generated pages into docs/generated/."""

from pathlib import Path

from docs.generators import algorithms, api, config_keys, presets


def write(docs: Path) -> None:
    """Write those that changed, so that Sphinx reads no page again without need."""
    conf, board = docs.parent / "conf", docs.parent / "benchmarks/board/board.json"
    folder = docs / "generated"
    _write(folder / "config.md", config_keys.page(conf))
    _write(folder / "presets.md", presets.page(conf))
    _write(folder / "api.md", api.page())
    for path in (conf / "algorithm").glob("*.yaml"):
        part = algorithms.part(conf, board, path.stem)
        _write(folder / "parts" / "algorithms" / f"{path.stem}.md", part)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
