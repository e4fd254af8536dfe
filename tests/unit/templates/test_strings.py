"""pass.strings files, read back by an independent parser."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.apple import static_files
from passmill.domain.apple.static_files import strings_bytes, write_strings
from passmill.domain.templates import Translation
from passmill.domain.templates.placeholders import escape_text
from tests.support import templates
from tests.support.template_strategies import TEXTS


def parse_strings(data: bytes) -> dict[str, str]:
    """Reads a strings file as Foundation's property list parser does: UTF-16 with byte order mark,
    entries `"key" = "value";`, backslash escapes."""
    assert data[:2] == b"\xff\xfe"
    text = data[2:].decode("utf-16-le")
    at, strings = 0, {}

    def skip_space() -> None:
        nonlocal at
        while at < len(text) and text[at] in " \t\r\n":
            at += 1

    def expect(symbol: str) -> None:
        nonlocal at
        skip_space()
        assert text[at] == symbol, (at, text[at])
        at += 1

    def read_string() -> str:
        nonlocal at
        expect('"')
        found = []
        while text[at] != '"':
            assert text[at] != "\n", "a raw line feed within a string"
            if text[at] == "\\":
                at += 1
                found.append({"n": "\n", '"': '"', "\\": "\\"}[text[at]])
            else:
                found.append(text[at])
            at += 1
        at += 1
        return "".join(found)

    skip_space()
    while at < len(text):
        key = read_string()
        expect("=")
        value = read_string()
        expect(";")
        assert key not in strings
        strings[key] = value
        skip_space()
    return strings


@given(strings=st.dictionaries(TEXTS, TEXTS, min_size=1, max_size=5))
def test_strings_parse_back(strings: dict[str, str]) -> None:
    """Whatever a translation holds, another parser reads the same keys and translations."""
    written = {escape_text(source): escape_text(target) for source, target in strings.items()}
    content = replace(
        templates.generic(), translations=(Translation(locale="pt-BR", strings=written),)
    )
    files = static_files(content, templates.assets(content))
    assert parse_strings(files["pt-BR.lproj/pass.strings"]) == strings


def test_every_language_has_the_same_keys() -> None:
    """A template whose languages are complete gives files with equal keys."""
    content = templates.store_card()
    files = static_files(content, templates.assets(content))
    german, english = (parse_strings(files[f"{name}.lproj/pass.strings"]) for name in ("de", "en"))
    assert german.keys() == english.keys()
    assert german["Gold"] == 'Gold "Plus"'
    assert english["Gold"] == "Gold\\Plus\nnew"


@given(strings=st.dictionaries(TEXTS.map(escape_text), TEXTS.map(escape_text), max_size=4))
def test_size_is_known_beforehand(strings: dict[str, str]) -> None:
    """The size told of a strings file is the one it has."""
    assert strings_bytes(strings) == len(write_strings(strings))
