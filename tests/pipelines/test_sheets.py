from PIL import Image

from pipelines.sheets import CELL, LABEL, labelled_grid


def test_each_row_has_its_label_above_its_pictures() -> None:
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    sheet = labelled_grid([("one", [red]), ("two", [red, blue])])
    assert sheet.size == (2 * CELL, 2 * (CELL + LABEL))
    assert sheet.getpixel((CELL // 2, LABEL + CELL // 2)) == (255, 0, 0)
    assert sheet.getpixel((CELL + CELL // 2, LABEL + CELL // 2)) == (255, 255, 255)
    assert sheet.getpixel((CELL + CELL // 2, 2 * LABEL + CELL + CELL // 2)) == (0, 0, 255)
