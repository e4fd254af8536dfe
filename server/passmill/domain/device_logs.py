"""What Wallet reports of its troubles with a web service, by the texts it is known to send.

https://developer.apple.com/documentation/walletpasses/log-a-message names no format; the forms here
are those that servers in use have received.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final


class DeviceLogKind(enum.StrEnum):
    """What the device was about when it went wrong."""

    GET_PASS = "get_pass"  # noqa: S105 - a task, not a password
    LIST = "list"
    REGISTER = "register"
    UNREGISTER = "unregister"
    NO_LAST_MODIFIED = "no_last_modified"
    WEB_SERVICE = "web_service"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLog:
    """One line, without what names a device or a pass. `error`: what the device says went wrong, up
    to 200 characters; '' when the line has no known form."""

    kind: DeviceLogKind
    pass_type_identifier: str
    error: str


_MAX_ERROR: Final = 200
_TASKS: Final = {
    "get pass": DeviceLogKind.GET_PASS,
    "get serial #s": DeviceLogKind.LIST,
    "register": DeviceLogKind.REGISTER,
    "unregister": DeviceLogKind.UNREGISTER,
}
# "[2024-06-02 10:11:12 +0200] Get pass task (pass type pass.a.b, serial number 1, if-modified-since
# (…); with web service url https://a.b) encountered error: Unexpected response code 500"
_TASK: Final = re.compile(
    r"(?:\[[^\]]{1,64}\] )?(Get pass|Get serial #s|Register|Unregister) task"
    r" \((?:for device [^,]{0,255}, )?pass type ([A-Za-z0-9.-]{1,255})[,;)]",
    re.IGNORECASE,
)
_ENCOUNTERED: Final = " encountered error: "
_SERVICE: Final = re.compile(
    r"(?:\[[^\]]{1,64}\] )?Web service error for ([A-Za-z0-9.-]{1,255}) \("
)
_NO_LAST_MODIFIED: Final = "did not provide a 'last-modified' header"
_SERIAL: Final = re.compile(r"(?i)(serial number) '[^']*'")


def parse_device_log(line: str) -> DeviceLog:
    """The kind of a line, of whatever form, and what may be shown of it."""
    if task := _TASK.match(line):
        _, _, error = line.partition(_ENCOUNTERED)
        return DeviceLog(
            kind=_TASKS[task[1].lower()],
            pass_type_identifier=task[2],
            error=_shown(error),
        )
    if service := _SERVICE.match(line):
        is_known = _NO_LAST_MODIFIED in line.lower()
        _, _, error = line[service.end() :].partition("): ")
        return DeviceLog(
            kind=DeviceLogKind.NO_LAST_MODIFIED if is_known else DeviceLogKind.WEB_SERVICE,
            pass_type_identifier=service[1],
            error=_shown(error),
        )
    # Of an unknown form nobody knows what it gives away.
    return DeviceLog(kind=DeviceLogKind.OTHER, pass_type_identifier="", error="")


def _shown(error: str) -> str:
    text = _SERIAL.sub(r"\1 …", error[: 2 * _MAX_ERROR])
    return "".join(each if each.isprintable() else " " for each in text[:_MAX_ERROR]).strip()
