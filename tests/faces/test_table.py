"""Tables of eyes and boxes: both headers, several faces a file, and one line for what is wrong, with its number."""

import pytest

from transflow.faces.table import read_table
from transflow.pictures.turned import Eyes


def table(tmp_path, text):
    path = tmp_path / "eyes.csv"
    path.write_text(text)
    return path


def test_eyes_and_boxes(tmp_path):
    found = read_table(
        table(tmp_path, "file,left_x,left_y,right_x,right_y\na.png,1,2,3,4\na.png,5,6,7.5,8\nb.png,1,1,2,1\n")
    )
    assert found["a.png"] == [Eyes((1, 2), (3, 4)), Eyes((5, 6), (7.5, 8))]
    assert set(found) == {"a.png", "b.png"}
    boxes = read_table(table(tmp_path, "\ufeffBottom,Right,top,left,file,more\n60,50,20,10,a.png,x\n"))
    assert boxes["a.png"] == [Eyes.of_box(10, 20, 50, 60)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,x,y\na,1,2\n", "that begins file,left_x"),
        ("", "that begins file,left_x"),
        ("file,left,top,right,bottom\n", "a row for each face"),
        ("file,left,top,right,bottom\na,1,2,3,x\n", "four numbers.*line 2"),
        ("file,left,top,right,bottom\na,1,2,nan,4\n", "four numbers"),
        ("file,left,top,right,bottom\na,1,2\n", "four numbers"),
        ("file,left,top,right,bottom\na,5,2,3,4\n", "left < right"),
        ("file,left_x,left_y,right_x,right_y\na,5,2,3,4\n", "left of the right one"),
    ],
)
def test_one_line_for_what_is_wrong(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        read_table(table(tmp_path, text))


def test_what_is_no_table(tmp_path):
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match="Expected a table"):
        read_table(tmp_path / "binary.csv")
    with pytest.raises(FileNotFoundError, match="no file"):
        read_table(tmp_path)
