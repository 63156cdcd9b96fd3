"""predictions.csv: an adapted learner's predictions for each example."""

from pathlib import Path

from metaloop.adapted import Adapted
from metaloop.folders.atomic_write import write_table
from metaloop.tasks.readers.given import Given


def write_predictions(path: Path, adapted: Adapted, query: Given) -> None:
    """Write a row per example.

    For images: file, predicted, label (if known), p(CLASS) for each class. For a table: row and its
    features, or the sentence, instead of the file; in regression the predicted numbers and the
    targets.
    """
    columns = {name: list(values) for name, values in query.columns.items()}
    if adapted.classes_ is not None:
        probabilities = adapted.predict_proba(query.inputs)
        columns["predicted"] = adapted.classes_[probabilities.argmax(1)].tolist()
        if query.labels is not None:
            columns["label"] = list(query.labels)
        columns |= {f"p({c})": probabilities[:, j].tolist() for j, c in enumerate(adapted.classes_)}
    else:
        numbers = adapted.predict(query.inputs).reshape(len(query.names), -1)
        ends = [""] if numbers.shape[1] == 1 else [f"_{j}" for j in range(numbers.shape[1])]
        columns |= {f"predicted{end}": numbers[:, j].tolist() for j, end in enumerate(ends)}
        if query.labels is not None:
            columns |= {
                name: [row[j] for row in query.labels] for j, name in enumerate(query.targets)
            }
    write_table(path, [columns, *zip(*columns.values(), strict=True)])
