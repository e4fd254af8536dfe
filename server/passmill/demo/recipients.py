"""The recipients file: a CSV of invented members whose names come in the world's scripts."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from passmill.dev.coffee_club import CURRENCY
from passmill_client import Money, PassDraft, pass_draft

_SEED = 20260101

# Given and family names in the order they are written, and what stands between.
_NAMES: tuple[tuple[str, str, str], ...] = (
    (
        "Zoë Łukasz Žofia Ñusta Çağla Søren Ingrīda Þórdís",
        "Ōtani Šimůnek Müller Ørsted Nguyễn",
        " ",
    ),
    ("Ελένη Γιώργος Δέσποινα Ωρίων", "Παπαδοπούλου Καζαντζής Χατζή", " "),
    ("Иван Олена Ђорђе Щирослав", "Щербаков Їжакевич Љубичић Ёлкина", " "),
    ("محمد فاطمة يوسف ليلى", "الحسيني بن‌علي القاسم", " "),
    ("שרה דוד נֹעַם יעל", "כהן לוי בן־דוד", " "),
    ("अनिता राहुल श्रीकृष्ण क्षितिज", "शर्मा मिश्रा द्विवेदी", " "),
    ("สมชาย กัญญา น้ำฝน", "ใจดี รัตนกุล ศรีสุข", " "),
    ("王 李 歐陽 司馬", "小明 芳 靜宜 𠮷", ""),
    ("さくら ハナコ みなと", "やまだ タカハシ すずき", "・"),
    ("김 박 남궁", "서연 민준 하늘", ""),
    ("ნინო გიორგი", "ბერიძე ჯაფარიძე", " "),
    ("Անահիտ Վարդան", "Պետրոսյան Ղազարյան", " "),
    ("አበበ ሰላማዊት", "በቀለ ተስፋዬ", " "),
    ("தமிழ் இளங்கோ", "செல்வன் முருகன்", " "),
    ("Ada Ben Chloe Dan", "O'Brien D’Arcy Smith-Jones McKay", " "),  # noqa: RUF001 - people write it so
)
# What breaks careless code: quotes, commas, backslashes, line ends of markup, joined emoji, marks
# that come after their letter, and a name in both directions.
_AWKWARD = (
    'Anna "Anni" Müller',
    "Smith, John, Jr.",
    "Luna 🌙☕",
    "Kim 👩🏽‍🔬 Lee",
    "C:\\Users\\Bob",
    "<b>Tom & Jerry</b>",
    "{holder.name}",
    "Zoe\u0308 Decomposed",
    "José עברית 日本 mixed",
    "'; DROP TABLE passes; --",
    "%@ 100%",
    "A",
)
_LEVELS = ("Regular", "Regular", "Regular", "Silver", "Gold")
_AREA_CODES = (206, 212, 305, 312, 415, 503, 617, 702, 808, 907)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """A line of the file."""

    name: str
    phone: str
    crm_id: str
    points: int
    balance: Decimal
    level: str
    member_since: datetime

    def draft(self) -> PassDraft:
        """What the recipient's pass is issued from."""
        return pass_draft(
            name=self.name,
            phone=self.phone,
            external_ids={"crm": self.crm_id},
            values={
                "points": self.points,
                "balance": Money(minor_units=int(self.balance * 100), currency_code=CURRENCY),
                "level": self.level,
                "member_since": self.member_since,
            },
        )


# A card that can be drawn anywhere: in letters that any font has.
_FIRST = Recipient(
    name="Ada Brook",
    phone="+12065550123",
    crm_id="M0000000",
    points=1250,
    balance=Decimal("12.50"),
    level="Gold",
    member_since=datetime(2019, 5, 3, 9, tzinfo=UTC),
)


def write_recipients(path: Path, count: int) -> None:
    """Writes `count` invented recipients, the same ones every time."""
    chance = random.Random(_SEED)  # noqa: S311 - invented names, no secret
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.DictWriter(file, [field.name for field in fields(Recipient)])
        lines.writeheader()
        for number in range(count):
            recipient = _FIRST if number == 0 else _invent(chance, number)
            lines.writerow(asdict(recipient) | {"member_since": recipient.member_since.isoformat()})


def read_recipients(path: Path) -> Iterator[Recipient]:
    """The recipients of a file, line by line."""
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            yield Recipient(
                name=line["name"],
                phone=line["phone"],
                crm_id=line["crm_id"],
                points=int(line["points"]),
                balance=Decimal(line["balance"]),
                level=line["level"],
                member_since=datetime.fromisoformat(line["member_since"]),
            )


def _invent(chance: random.Random, number: int) -> Recipient:
    joined = datetime(2019, 1, 1, 9, tzinfo=UTC) + timedelta(hours=chance.randrange(60_000))
    return Recipient(
        name=_name(chance),
        # 555-01xx is kept for stories: https://nationalnanpa.com
        phone=f"+1{chance.choice(_AREA_CODES)}55501{chance.randrange(100):02}",
        crm_id=f"M{number:07}",
        points=chance.randrange(2_000),
        balance=Decimal(chance.randrange(10_000)).scaleb(-2),
        level=chance.choice(_LEVELS),
        member_since=joined,
    )


def _name(chance: random.Random) -> str:
    if chance.random() < 0.1:
        return chance.choice(_AWKWARD)
    first, second, between = chance.choice(_NAMES)
    return f"{chance.choice(first.split(' '))}{between}{chance.choice(second.split(' '))}"
