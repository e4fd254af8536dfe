"""The one card that every contender makes, in the forms they take it in: a folder of files.

The template is the demo's coffee club. Its nine images are noise, of which a PNG of any size can be
made, at the pixel sizes that Wallet shows.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from passmill.dev import coffee_club
from passmill.dev.authority import ThrowawayAuthority
from passmill.dev.png import Pixels, write_png
from passmill.domain.apple import (
    PassData,
    RevisionPins,
    encode_pass_data,
    render_reference,
    static_files,
    write_document,
)
from passmill.domain.money import Money
from passmill.rpc.convert_template import content_from_proto
from passmill_client import messages

ROWS: Final = 512
"""Members whose cards are made, over and over."""
_POINTS: Final = {
    messages.IMAGE_ROLE_ICON: (38, 38),
    messages.IMAGE_ROLE_LOGO: (160, 50),
    messages.IMAGE_ROLE_STRIP: (375, 144),
}
_CHANNELS: Final = 3
_PINS: Final = RevisionPins(
    pass_type_identifier=coffee_club.PASS_TYPE_IDENTIFIER,
    team_identifier=coffee_club.TEAM_IDENTIFIER,
    web_service_url="https://wallet.example.com/passes",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """The first row: what a verifier must find on its card."""

    serial_number: str
    name: str


def write_certificates(folder: Path) -> None:
    """`leaf.pem`, `key.pem`, `wwdr.pem` and `root.pem` of a throw-away authority."""
    now = datetime.now(UTC)
    authority = ThrowawayAuthority(now=now)
    issued = authority.issue_pass_certificate(
        now=now,
        pass_type_identifier=_PINS.pass_type_identifier,
        team_identifier=_PINS.team_identifier,
    )
    for name, content in (
        ("leaf.pem", issued.certificate_pem),
        ("key.pem", issued.private_key_pem),
        ("wwdr.pem", issued.wwdr_pem),
        ("root.pem", authority.root_pem),
    ):
        (folder / name).write_bytes(content)


def write_card(folder: Path, *, image_bytes: int) -> Member:
    """Writes the card with images of so many bytes together.

    `model.pass/`: every fixed file, with a `pass.json` that lacks what differs from member to
    member; `passes.json`: the whole documents, one a member; `document.json` and `values.jsonl`:
    the same for our signer.
    """
    sizes = {
        (role, scale): (width * scale, height * scale)
        for role, (width, height) in _POINTS.items()
        for scale in (1, 2, 3)
    }
    names = {key: f"{messages.ImageRole.Name(key[0])}-{key[1]}" for key in sizes}
    content = content_from_proto(coffee_club.card_content(names))
    drawn = _draw(list(sizes.values()), image_bytes)
    assets = dict(zip(names.values(), drawn, strict=True))
    rows = [_row(number) for number in range(ROWS)]
    documents = [json.loads(render_reference(content, _PINS, row)) for row in rows]
    model = folder / "model.pass"
    files = static_files(content, assets) | {"pass.json": _model(documents[0])}
    for name, file in files.items():
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_bytes(file)
    (folder / "passes.json").write_text(json.dumps(documents))
    (folder / "document.json").write_text(write_document(content, _PINS))
    (folder / "values.jsonl").write_bytes(b"".join(map(encode_pass_data, rows)))
    return Member(serial_number=rows[0].serial_number, name=rows[0].holder_name or "")


def _row(number: int) -> PassData:
    return PassData(
        serial_number=secrets.token_hex(16),
        authentication_token=secrets.token_urlsafe(32),
        reference_id=f"K7M3-{number:04}",
        holder_name=f"Zoë Ōtani {number}",
        holder_phone="+12065550123",
        values={
            "points": number % 2000,
            "balance": Money(minor_units=1250 + number, currency=coffee_club.CURRENCY),
            "level": "Gold",
            "member_since": datetime(2024, 5, 17, 9, 30, tzinfo=UTC),
        },
    )


def _model(document: Mapping[str, object]) -> bytes:
    """What all members' documents have in common, but the fields of the card."""
    service = {"webServiceURL", "authenticationToken"}  # the one is not valid without the other
    differing = service | {"serialNumber", "barcodes", "storeCard"}
    common = {name: value for name, value in document.items() if name not in differing}
    return json.dumps(common | {"storeCard": {}}, ensure_ascii=False).encode()


def _draw(sizes: Sequence[tuple[int, int]], image_bytes: int) -> list[bytes]:
    """Noise, as much in each image as its share of the pixels, until they have the size wanted."""
    noise = image_bytes
    for _ in range(4):  # what the calm part takes is known when it has been compressed
        drawn = list(map(_image, sizes, _shares(sizes, noise)))
        noise = max(0, noise + image_bytes - sum(map(len, drawn)))
    return drawn


def _shares(sizes: Sequence[tuple[int, int]], noise: int) -> list[int]:
    pixels = [width * height for width, height in sizes]
    return [noise * each // sum(pixels) for each in pixels]


def _image(size: tuple[int, int], noise: int) -> bytes:
    width, height = size
    row = width * _CHANNELS
    content = secrets.token_bytes(noise).ljust(height * row, b"\x80")
    rows = [content[start : start + row] for start in range(0, height * row, row)]
    return write_png(Pixels(width=width, height=height, channels=_CHANNELS, rows=rows))
