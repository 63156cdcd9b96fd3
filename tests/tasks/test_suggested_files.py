"""Every family names the files of examples that a learner of it can adapt to."""

import pytest

from metaloop.tasks import Mixture, PointNavigation, Sinusoid
from metaloop.tasks.readers.given import name_files, name_tables
from tests.named import Mixed
from tests.tasks.fields.fields import field, numbered
from tests.tasks.images.test_image_classes import make as make_images
from tests.tasks.tables.test_arrays import make as make_table, write_csv
from tests.tasks.text.test_sentence_classes import make as make_sentences

TABLES = ["support=LABELLED.csv", "query=REST.csv"]
FOLDERS = ["support=LABELLED", "query=REST"]


def curves() -> Sinusoid:
    return Sinusoid(shots=1, queries=1)


def images():
    task = make_images()
    task.input_shape = (1, 2, 2)
    return task


@pytest.mark.parametrize(
    ("make", "arguments", "content"),
    [
        (curves, TABLES, "LABELLED.csv has the columns x and y, REST.csv has x"),
        (lambda: Mixture(of={"one": curves(), "other": curves()}), TABLES, "x and y"),
        (lambda: make_sentences(None), TABLES, "columns sentence and label"),
        (images, FOLDERS, "a folder of images for each class"),
        (lambda: field(numbered()), ["support=IMAGE.png"], "the image to fit"),
    ],
)
def test_a_family_suggests_what_it_reads(make, arguments, content):
    found = make().suggest_files()
    assert list(found.arguments) == arguments
    assert content in found.content


def test_a_table_is_named_by_its_own_columns(tmp_path):
    write_csv(
        tmp_path / "own.csv", "dose,age,v", [(c, r, f"k{c}") for c in range(10) for r in range(4)]
    )
    found = make_table(tmp_path, "own.csv", target="v").suggest_files()
    assert found.content == "LABELLED.csv has the columns dose, age and v, REST.csv has dose, age"


def test_rows_without_names_have_a_column_for_each_number():
    assert "the columns x_1, x_2 and label" in name_files([2], None).content
    assert "the columns x and y_1, y_2" in name_files([1], 2).content
    assert "a .. (20) and b" in name_tables([*"aaaaaaaaaaaaaaaaaaaa"], ["b"]).content


def test_where_no_file_can_hold_the_examples_none_is_suggested():
    sizes = {"shots": 2, "queries": 2, "horizon": 3, "action_std": 0.5}
    assert PointNavigation(**sizes).suggest_files() is None
    assert Mixed().suggest_files() is None
