"""Folders that appear whole or not at all."""

import pytest

from openreels.media.folders import new_folder, replaced_folder


@pytest.mark.parametrize("filled", [new_folder, replaced_folder])
def test_a_folder_appears_when_it_is_filled(tmp_path, filled):
    folder = tmp_path / "a" / "b"
    with filled(folder) as part:
        (part / "x").write_text("new")
        assert not folder.exists()
    assert (folder / "x").read_text() == "new"
    assert [path.name for path in folder.parent.iterdir()] == ["b"]


def test_a_folder_takes_the_place_of_another_whole(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    for name in ("x", "y"):
        (folder / name).write_text("old")
    with replaced_folder(folder) as part:
        (part / "x").write_text("new")
        assert (folder / "x").read_text() == "old"
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"x": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_old_folder_stays_where_the_new_one_fails(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "x").write_text("old")
    with pytest.raises(KeyboardInterrupt), replaced_folder(folder) as part:
        (part / "x").write_text("half")
        raise KeyboardInterrupt
    assert (folder / "x").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
