"""Every row of Apple's protocol, over TLS and HTTP/2 against a whole service."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

import httpx
import pytest

from passmill.v1.wallet_pass_pb2 import Pass
from tests.edge.rig import DEVICE, PUSH_TOKEN, Edge, Held, hold, register
from tests.support.bundles import verify
from tests.support.service import Club, authority
from tests.support.small_card import value

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def list_updated(edge: Edge, held: Held, since: str | None = None) -> httpx.Response:
    """Asks what is new for the device."""
    params = {} if since is None else {"passesUpdatedSince": since}
    return await edge.client.get(held.list_path(), params=params)


async def change(club: Club, held: Held, points: int) -> None:
    """Gives the pass other points."""
    wanted = Pass()
    wanted.values["points"].CopyFrom(value(points))
    await club.update(held.wallet_pass, "values.points", wanted=wanted)


async def test_registers_once(edge: Edge, club: Club) -> None:
    """The first registration is 201, each later one 200, without a body; the device is written with
    its token and its system."""
    held = await hold(club)
    assert (await register(edge.client, held)).status_code == 201
    again = await register(edge.client, held, push_token="b2" * 32)
    assert (again.status_code, again.content) == (200, b"")
    [device] = await club.tenant.fetch("SELECT push_token, wallet, system_version FROM devices")
    assert tuple(device) == ("b2" * 32, 1, "Darwin/23.4.0")
    assert await club.tenant.count("registrations") == 1


@pytest.mark.parametrize(
    ("scheme", "status", "wallet"),
    [
        ("ApplePass", 201, 1),
        ("applepass", 201, 1),
        ("APPLEPASS", 201, 1),
        ("AndroidPass", 201, 2),
        ("walletunionpass", 201, 3),
        ("Bearer", 401, None),
        ("", 401, None),
    ],
)
async def test_schemes(
    edge: Edge, club: Club, scheme: str, status: int, wallet: int | None
) -> None:
    """Apple's scheme and those of the wallets on Android open the pass, in any case of letters, and
    no other does."""
    held = await hold(club)
    answer = await edge.client.post(
        held.registration(),
        headers={"authorization": f"{scheme} {held.token}"},
        json={"pushToken": PUSH_TOKEN},
    )
    assert answer.status_code == status
    devices = await club.tenant.fetch("SELECT wallet FROM devices")
    assert [row["wallet"] for row in devices] == ([] if wallet is None else [wallet])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b'"a1"',
        b"{",
        b'{"pushToken":17}',
        b'{"pushToken":""}',
        b'{"pushToken":"xyz"}',
        b'{"pushToken":"abc"}',
        b'{"pushToken":"\\ud800"}',
        b'{"pushToken":"' + b"ab" * 101 + b'"}',
        b"\xff\xfe",
        b"[" * 5000,
        b'{"a":' + b"1" * 5000 + b"}",
    ],
)
async def test_malformed_registrations(edge: Edge, club: Club, content: bytes) -> None:
    """What is no JSON object with a push token in hex is 400, and nothing is written."""
    held = await hold(club)
    answer = await edge.client.post(
        held.registration(), headers=held.authorization, content=content
    )
    assert (answer.status_code, answer.json()) == (400, {"error": "malformed"})
    assert await club.tenant.count("registrations") == 0


async def test_malformed_device(edge: Edge, club: Club) -> None:
    """A device that calls itself by what is no identifier is 400."""
    held = await hold(club)
    for device in ("%00", "a%20b", "%C3%A4", "x" * 300):
        assert (await register(edge.client, held, device=device)).status_code == 400


async def test_unregisters(edge: Edge, club: Club) -> None:
    """A registration ends with 200 without a body, and so does one that never was; afterwards the
    device has nothing to fetch."""
    held = await hold(club)
    await register(edge.client, held)
    assert (await list_updated(edge, held)).status_code == 200
    for _ in range(2):
        gone = await edge.client.delete(held.registration(), headers=held.authorization)
        assert (gone.status_code, gone.content) == (200, b"")
    assert (await list_updated(edge, held)).status_code == 204
    assert (await register(edge.client, held)).status_code == 201


async def test_lists_what_is_new(edge: Edge, club: Club) -> None:
    """Without a tag a device is told all of its passes; with the one it got, what has changed
    since, in JSON; and when nothing has, 204 without a body."""
    first, second = await hold(club), await hold(club)
    for held in (first, second):
        await register(edge.client, held)
    answer = await list_updated(edge, first)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert sorted(told) == ["lastUpdated", "serialNumbers"]
    assert sorted(told["serialNumbers"]) == sorted([first.serial_number, second.serial_number])
    assert isinstance(told["lastUpdated"], str)

    nothing = await list_updated(edge, first, told["lastUpdated"])
    assert (nothing.status_code, nothing.content) == (204, b"")

    await change(club, second, 99)
    news = (await list_updated(edge, first, told["lastUpdated"])).json()
    assert news["serialNumbers"] == [second.serial_number]
    assert int(news["lastUpdated"]) > int(told["lastUpdated"])


@pytest.mark.parametrize("tag", ["", "never", "-1", "2024-01-01T00:00:00Z", "9" * 30, "%00", "٣"])
async def test_strange_tags(edge: Edge, club: Club, tag: str) -> None:
    """A tag that is none of ours is as none: the device is told everything."""
    held = await hold(club)
    await register(edge.client, held)
    answer = await list_updated(edge, held, tag)
    assert answer.json()["serialNumbers"] == [held.serial_number]


async def test_serves_the_bundle(edge: Edge, club: Club) -> None:
    """A pass is served as it was issued, byte for byte, verified by other people's code, with its
    type and Last-Modified, which is its signing time."""
    held = await hold(club)
    answer = await edge.client.get(held.path, headers=held.authorization)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/vnd.apple.pkpass"
    assert answer.content == await club.bundle(held.wallet_pass)
    assert verify(answer.content, authority())["serialNumber"] == held.serial_number
    modified = parsedate_to_datetime(answer.headers["last-modified"])
    [row] = await club.tenant.fetch("SELECT signing_time FROM passes")
    assert modified == row["signing_time"]


async def test_not_modified(edge: Edge, club: Club) -> None:
    """Who has the newest version is told so, without a body; who has an older one, or says when by
    what is no HTTP date, is given it; each change moves Last-Modified on."""
    held = await hold(club)

    async def ask(since: str) -> httpx.Response:
        return await edge.client.get(
            held.path, headers={**held.authorization, "if-modified-since": since}
        )

    first = await edge.client.get(held.path, headers=held.authorization)
    modified = first.headers["last-modified"]
    same = await ask(modified)
    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["last-modified"] == modified
    moment = parsedate_to_datetime(modified)
    assert (await ask(moment.strftime("%A, %d-%b-%y %H:%M:%S GMT"))).status_code == 304
    assert (await ask(moment.strftime("%a %b %e %H:%M:%S %Y"))).status_code == 304
    earlier = format_datetime(moment - timedelta(seconds=1), usegmt=True)
    for other in (earlier, "yesterday", "1700000000", modified.replace("GMT", "CET"), ""):
        assert (await ask(other)).status_code == 200

    await change(club, held, 1000)
    newer = await ask(modified)
    assert newer.status_code == 200
    assert parsedate_to_datetime(newer.headers["last-modified"]) > moment
    assert newer.content != first.content


async def test_head(edge: Edge, club: Club) -> None:
    """HEAD says what GET would, and brings no body."""
    held = await hold(club)
    got = await edge.client.get(held.path, headers=held.authorization)
    head = await edge.client.head(held.path, headers=held.authorization)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "last-modified", "content-length"):
        assert head.headers[name] == got.headers[name]
    since = {"if-modified-since": got.headers["last-modified"]}
    same = await edge.client.head(held.path, headers=held.authorization | since)
    assert same.status_code == 304
    assert (await edge.client.head(held.path)).status_code == 401


async def test_a_token_opens_one_pass(edge: Edge, club: Club) -> None:
    """Nothing but a pass's own token opens it, and an unknown pass, one of another pass type and a
    wrong token are told apart by nothing but the clock's second."""
    held, other = await hold(club), await hold(club)
    strange = Held(
        wallet_pass=held.wallet_pass,
        pass_type="pass.com.example.nobody",
        serial_number=held.serial_number,
        token=held.token,
    )
    wrong_serial = Held(
        wallet_pass=held.wallet_pass,
        pass_type=held.pass_type,
        serial_number="A" * len(held.serial_number),
        token=held.token,
    )
    paths = [held.path, strange.path, wrong_serial.path]
    headers = [other.authorization, strange.authorization, wrong_serial.authorization]
    answers = []
    for path, header in zip(paths, headers, strict=True):
        answers.append(await edge.client.get(path, headers=header))
    for answer in answers:
        assert answer.status_code == 401
        assert answer.json() == {"error": "unauthorized"}
        assert answer.headers["www-authenticate"] == "ApplePass"
    assert len({str([*answer.headers.multi_items()][:-1]) for answer in answers}) == 1
    for bad in ("", "ApplePass", "ApplePass ", f"ApplePass {held.token}x", held.token):
        got = await edge.client.get(held.path, headers={"authorization": bad})
        assert got.status_code == 401
    wrong = other.authorization
    posted = await edge.client.post(
        held.registration(), headers=wrong, json={"pushToken": PUSH_TOKEN}
    )
    assert posted.status_code == 401
    assert (await edge.client.delete(held.registration(), headers=wrong)).status_code == 401
    assert await club.tenant.count("registrations") == 0


async def test_paths_are_decoded_once(edge: Edge, club: Club) -> None:
    """Percent-encoding of a part means what it encodes; encoded twice it is another name."""
    held = await hold(club)
    encoded = "".join(f"%{ord(each):02x}" for each in held.serial_number)
    path = f"/v1/passes/{held.pass_type.replace('.', '%2E')}/"
    assert (await edge.client.get(path + encoded, headers=held.authorization)).status_code == 200
    twice = encoded.replace("%", "%25")
    assert (await edge.client.get(path + twice, headers=held.authorization)).status_code == 401
    cut = f"{held.path}%"
    assert (await edge.client.get(cut, headers=held.authorization)).status_code == 401


async def test_other_paths_and_methods(edge: Edge) -> None:
    """Unknown paths are 404; a known one asked wrongly is 405 and says what would do."""
    for path in (
        "/",
        "/v1",
        "/v1/",
        "/v2/log",
        "/v1/log/",
        "/v1/passes/a",
        "/v1/passes/a/b/c",
        "/v1/passes/a/b/personalise",
        "//v1/log",
        "/v1/devices/a/registrations",
        "/v1/devices/a/registrations/b/c/d",
    ):
        assert (await edge.client.get(path)).status_code == 404, path
    assert (await edge.client.post("/v1/passes/a/b/personalise")).status_code == 404
    for method, path, allow in (
        ("GET", "/v1/log", "POST"),
        ("HEAD", "/v1/log", "POST"),
        ("PUT", "/v1/passes/a/b", "GET, HEAD"),
        ("GET", "/v1/passes/a/b/personalize", "POST"),
        ("POST", "/v1/devices/a/registrations/b", "GET, HEAD"),
        ("GET", "/v1/devices/a/registrations/b/c", "POST, DELETE"),
        ("OPTIONS", "/v1/passes/a/b", "GET, HEAD"),
        ("FOO", "/v1/log", "POST"),
    ):
        answer = await edge.client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allow)


async def test_strangers_lists_are_empty(edge: Edge, club: Club) -> None:
    """A device that nobody knows, a pass type that nobody has, and names that are none are all told
    that there is nothing."""
    held = await hold(club)
    await register(edge.client, held)
    for path in (
        held.list_path("f" * 32),
        f"/v1/devices/{DEVICE}/registrations/pass.com.example.nobody",
        held.list_path("%00%ff"),
        f"/v1/devices/{DEVICE}/registrations/%00",
        held.list_path("x" * 600),
    ):
        answer = await edge.client.get(path)
        assert (answer.status_code, answer.content) == (204, b"")


async def test_logs_are_counted_by_kind(edge: Edge) -> None:
    """What devices report is 200 and counted; a report of another form, or of too much, is
    refused, and of too many lines the first hundred count."""
    lines = [
        "[2024-06-02 10:11:12 +0200] Get pass task (pass type pass.a.b, serial number 12,"
        " if-modified-since (null); with web service url https://a.b/) encountered error:"
        " Unexpected response code 500",
        "Web service error for pass.a.b (https://a.b/): Server returned the pass data for serial"
        " number '12' but did not provide a 'last-modified' header.",
        "something else",
    ]

    def counted(kind: str) -> float:
        return edge.sample("passmill_edge_device_logs_total", kind=kind)

    kinds = ("get_pass", "no_last_modified", "other")
    before = [counted(kind) for kind in kinds]
    answer = await edge.client.post("/v1/log", json={"logs": lines})
    assert (answer.status_code, answer.content) == (200, b"")
    assert [counted(kind) for kind in kinds] == [count + 1 for count in before]
    assert (await edge.client.post("/v1/log", json={"logs": ["x"] * 5000})).status_code == 200
    assert counted("other") == before[2] + 101
    for bad in ({}, {"logs": "x"}, {"logs": [1]}, {"logs": None}, [lines]):
        assert (await edge.client.post("/v1/log", json=bad)).status_code == 400
    large = json.dumps({"logs": ["x" * 66_000]})
    assert (await edge.client.post("/v1/log", content=large)).status_code == 413


async def test_unsigned_is_never_served(edge: Edge, club: Club) -> None:
    """A pass whose signature is not there, or is not of its content, is 503 with a time to come
    back; when it is signed again it is served, newer."""
    held = await hold(club)
    before = await edge.client.get(held.path, headers=held.authorization)
    await club.tenant.fetch(
        "UPDATE passes SET digest = decode(repeat('00', 20), 'hex') RETURNING 1"
    )
    refused = await edge.client.get(held.path, headers=held.authorization)
    assert (refused.status_code, refused.json()) == (503, {"error": "unavailable"})
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    await club.tenant.service.services.finish_signing.sweep()
    after = await edge.client.get(held.path, headers=held.authorization)
    assert after.status_code == 200
    verify(after.content, authority())
    assert parsedate_to_datetime(after.headers["last-modified"]) > parsedate_to_datetime(
        before.headers["last-modified"]
    )


async def test_answers_say_how_they_may_be_kept(edge: Edge, club: Club) -> None:
    """No answer may be stored on the way, or be taken for what it is not, or be asked for without
    TLS the next time."""
    held = await hold(club)
    for answer in (
        await edge.client.get(held.path, headers=held.authorization),
        await edge.client.get(held.path),
        await list_updated(edge, held),
        await edge.client.get("/nowhere"),
        await edge.client.get("/healthz"),
    ):
        assert answer.http_version == "HTTP/2"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        assert answer.headers["server"] == "passmill"
        assert answer.headers["cache-control"] in {"no-store", "private, no-cache"}


async def test_fetches_are_noted(edge: Edge, club: Club) -> None:
    """What was fetched, or was there already, is kept as the pass's last fetch; HEAD fetches
    nothing."""
    held = await hold(club)
    await edge.client.head(held.path, headers=held.authorization)
    got = await edge.client.get(held.path, headers=held.authorization)
    deadline = datetime.now(UTC) + timedelta(seconds=20)
    while not (rows := await club.tenant.fetch("SELECT content_time FROM pass_fetches")):
        assert datetime.now(UTC) < deadline
    assert rows[0]["content_time"] == parsedate_to_datetime(got.headers["last-modified"])
