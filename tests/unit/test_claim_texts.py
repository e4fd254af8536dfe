"""The texts of the claim pages."""

import json
from importlib import resources


def test_every_language_says_everything() -> None:
    """The texts of all languages have the same names, none is empty, and what is put into them
    later has its place in each."""
    folder = resources.files("passmill.edge") / "web" / "texts"
    files = [file for file in folder.iterdir() if file.name.endswith(".json")]
    texts = {file.name: json.loads(file.read_text(encoding="utf-8")) for file in files}
    assert len(texts) >= 3
    for name, words in texts.items():
        assert words.keys() == texts["en.json"].keys(), name
        assert all(words.values()), name
        assert [key for key, text in words.items() if "{organization}" in text] == ["ask_operator"]
