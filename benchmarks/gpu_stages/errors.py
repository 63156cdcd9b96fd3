"""Errors of many cases at one precision, none of them beyond its tolerance."""

from collections.abc import Callable, Mapping

from gpu_stages.record import Outcome, Record, Values, error_line, failed, passed, skipped

Measure = Callable[[], float | str]  # an error, a share of the norm, or a word why there is none


def all_within(tolerance: float, cases: Mapping[str, Measure], record: Record) -> Outcome:
    """Measure one case after the other, as far as the time holds; one that raises is wrong too."""
    found: dict[str, float | str] = {}
    missing: dict[str, None] = {}
    wrong: list[str] = []
    values: Values = {"largest": None, "tolerance": tolerance, "errors": found}
    for label, measure in cases.items():
        if record.seconds_left() <= 0:
            return Outcome("waiting", values, f"no time was left for {label}")
        try:
            found[label] = error = measure()
        except ImportError as problem:
            missing[f"{problem.name} is not installed"] = None
        except Exception as problem:
            wrong.append(f"{label}: {error_line(problem)}")
        else:
            if isinstance(error, float) and not error <= tolerance:
                wrong.append(f"{label}: off by {error:.1e}")
    if missing and not found and not wrong:
        return skipped(", ".join(missing))
    values["largest"] = max((e for e in found.values() if isinstance(e, float)), default=None)
    values["missing"] = list(missing)
    return failed("; ".join(wrong), values) if wrong else passed(values)
