"""The bar on a terminal, and the lines elsewhere."""

from __future__ import annotations

import io
import os
import pty

from passmill.cli.campaign.identity import ImportIdentity
from passmill.cli.campaign.progress import Progress, duration


def test_lines_where_there_is_no_terminal() -> None:
    """A log gets whole lines and no control characters; the last one says the rate over all."""
    stream = io.StringIO()
    with Progress("importing", stream=stream) as progress:
        for count in range(1000):
            progress.show(count, count / 1000)
        progress.finish(1000, note="3 refused")
    [line] = stream.getvalue().splitlines()
    assert line.startswith("importing  100%  1,000 rows")
    assert line.endswith("3 refused")
    assert line.isprintable()


def test_a_bar_on_a_terminal() -> None:
    """A terminal gets one line that is drawn over, with a bar, and a line end after it."""
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w", encoding="utf-8") as stream:
        with Progress("importing", stream=stream) as progress:
            progress.show(500, 0.5)
            progress.finish(1000)
        raw = b""
        while not raw.endswith(b"\r\n"):  # a terminal gives it in pieces
            raw += os.read(leader, 1 << 16)
        drawn = raw.decode()
    os.close(leader)
    assert "░" in drawn.split("\r")[1]
    assert "100%" in drawn
    assert drawn.endswith("\r\n")
    assert drawn.count("\n") == 1


def test_durations() -> None:
    """Seconds as people write them."""
    assert [duration(seconds) for seconds in (9, 245, 5025)] == ["0:09", "4:05", "1:23:45"]


def identity(
    *, content: str = "hash", action: str = "issue", run: str = "", reading: str = "a=b"
) -> ImportIdentity:
    """An import."""
    return ImportIdentity(
        content=content, action=action, template_id="t1", run=run, reading=[[reading]]
    )


def test_request_ids_follow_from_what_is_imported() -> None:
    """The same import has the same ids, and a step has its own; how the file is read names the
    stream and not the campaign, anything else both."""
    one = identity()
    assert one.of_campaign("campaign") == identity().of_campaign("campaign")
    assert one.of_stream("stream") == identity().of_stream("stream")
    others = [identity(content="hush"), identity(action="update"), identity(run="2")]
    campaigns = {each.of_campaign("campaign") for each in (one, *others)}
    streams = {each.of_stream("stream") for each in (one, *others, identity(reading="a=c"))}
    assert len(campaigns) == 4
    assert len(streams) == 5
    assert not campaigns & streams
    assert identity(reading="a=c").of_campaign("campaign") == one.of_campaign("campaign")
    assert one.of_campaign("start") != one.of_campaign("campaign")
