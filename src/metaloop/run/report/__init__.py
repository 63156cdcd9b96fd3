"""One self-contained HTML page of a run, an evaluation, an adaptation or a sweep."""
