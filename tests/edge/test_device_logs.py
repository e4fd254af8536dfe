"""What devices report, by the texts that servers in use have received."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.device_logs import DeviceLogKind, parse_device_log

K = DeviceLogKind
URL = "with web service url https://passes.example.com/"


@pytest.mark.parametrize(
    ("line", "kind", "error"),
    [
        (
            "[2024-06-02 10:11:12 +0200] Get pass task (pass type pass.com.example, serial number"
            f" ab12, if-modified-since (Sun, 02 Jun 2024 08:00:00 GMT); {URL}) encountered error:"
            " Unexpected response code 500",
            K.GET_PASS,
            "Unexpected response code 500",
        ),
        (
            "[2024-06-02 10:11:12 +0200] Get pass task (pass type pass.com.example, serial number"
            f" ab12, if-modified-since (null); {URL}) encountered error: Received invalid pass"
            " data.",
            K.GET_PASS,
            "Received invalid pass data.",
        ),
        (
            "[2024-06-02 10:11:12 +0200] Get serial #s task (for device 0123abcd, pass type"
            f" pass.com.example, last updated (17); {URL}) encountered error: Unexpected response"
            " code 401",
            K.LIST,
            "Unexpected response code 401",
        ),
        (
            "[2024-06-02 10:11:12 +0200] Register task (for device 0123abcd, pass type"
            f" pass.com.example, serial number ab12; {URL}) encountered error: The network"
            " connection was lost.",
            K.REGISTER,
            "The network connection was lost.",
        ),
        (
            "[2024-06-02 10:11:12 +0200] Unregister task (for device 0123abcd, pass type"
            f" pass.com.example, serial number ab12; {URL}) encountered error: Unexpected response"
            " code 401",
            K.UNREGISTER,
            "Unexpected response code 401",
        ),
        (
            "Web service error for pass.com.example (https://passes.example.com/): Server returned"
            " the pass data for serial number 'ab12' but did not provide a 'last-modified' header.",
            K.NO_LAST_MODIFIED,
            "Server returned the pass data for serial number … but did not provide a"
            " 'last-modified' header.",
        ),
        (
            "Web service error for pass.com.example (https://passes.example.com/): Response to"
            " 'What changed?' request included 1 serial numbers but the lastUpdated tag (17)"
            " remained the same.",
            K.WEB_SERVICE,
            "Response to 'What changed?' request included 1 serial numbers but the lastUpdated tag"
            " (17) remained the same.",
        ),
    ],
)
def test_known_lines(line: str, kind: DeviceLogKind, error: str) -> None:
    """Each known form is told by what the device was about; what names a device or a pass is left
    out."""
    log = parse_device_log(line)
    assert (log.kind, log.pass_type_identifier, log.error) == (kind, "pass.com.example", error)
    assert "ab12" not in str(log)
    assert "0123abcd" not in str(log)


@pytest.mark.parametrize("line", ["", "hello", "[x] Get pass", "Web service error for ()"])
def test_other_lines(line: str) -> None:
    """Of a line of no known form nothing is shown."""
    log = parse_device_log(line)
    assert (log.kind, log.pass_type_identifier, log.error) == (K.OTHER, "", "")


@given(st.text(max_size=2048))
def test_any_line(text: str) -> None:
    """No line whatever is more than parsed, and what is shown is short and printable."""
    for line in (text, f"Get pass task (pass type a.b, {text}) encountered error: {text}"):
        log = parse_device_log(line)
        assert len(log.error) <= 200
        assert log.error.isprintable()
