"""docs/compiler.md shows the table that these tests make."""

import table


def test_the_page_has_the_table_of_the_tests():
    assert table.PAGE.read_text() == table.page(), "run python tests/compiler/table.py"


def test_every_hole_is_explained():
    for construct, dtypes, note in table.rows():
        assert set(dtypes) == set(table.COLUMNS) or note in table.NOTES, construct
