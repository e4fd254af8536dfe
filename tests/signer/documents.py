"""A small document for passes of the tests, the lines of passes, and what must come of them."""

import json

# Renders to `{}`, from the line that follows.
EMPTY_DOCUMENT = (
    '{"built_ins":[],"slots":[],"decimals":{},"document":{"object":[],"whole":[],"keep":true}}'
)
EMPTY_LINE = b"[{}]\n"


def document(pass_type_identifier: str, team_identifier: str) -> str:
    """A store card with a serial number, and a note that may be absent."""

    def text(source: str) -> object:
        return {"text": [{"sources": [source], "form": "text"}]}

    constants = _constants(pass_type_identifier, team_identifier)
    return json.dumps(
        {
            "built_ins": [{"name": "serial", "type": "text", "required": True, "default": None}],
            "slots": [{"name": "note", "type": "text", "required": False, "default": None}],
            "decimals": {},
            "document": {
                "object": [
                    *([name, {"constant": json.dumps(value)}] for name, value in constants.items()),
                    ["serialNumber", text("serial")],
                    ["userInfo", {"object": [["note", text("note")]], "whole": [], "keep": False}],
                    ["storeCard", {"object": [], "whole": [], "keep": True}],
                ],
                "whole": [],
                "keep": True,
            },
        }
    )


def line(serial_number: int, note: str | None = "Ein Kaffee für 張偉 ☕") -> bytes:
    """The line of a pass of that document."""
    values = {} if note is None else {"note": note}
    text = json.dumps([str(serial_number), values], ensure_ascii=False, separators=(",", ":"))
    return f"{text}\n".encode()


def rendered(pass_type_identifier: str, team_identifier: str, serial_number: int) -> bytes:
    """The pass.json that this line becomes, by Python's `json`."""
    content = {
        **_constants(pass_type_identifier, team_identifier),
        "serialNumber": str(serial_number),
        "userInfo": {"note": "Ein Kaffee für 張偉 ☕"},
        "storeCard": {},
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _constants(pass_type_identifier: str, team_identifier: str) -> dict[str, object]:
    return {
        "formatVersion": 1,
        "passTypeIdentifier": pass_type_identifier,
        "teamIdentifier": team_identifier,
        "description": "A card",
        "organizationName": "Example Coffee Ltd",
    }
