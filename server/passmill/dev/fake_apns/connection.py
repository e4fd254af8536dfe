"""One client's connection: HTTP/2 frames in, answers by script out."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Final, NamedTuple, assert_never, cast

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from passmill.dev.fake_apns.answers import HeaderList, encode_answer
from passmill.dev.fake_apns.director import Turn
from passmill.dev.fake_apns.records import Fate, PushRecord
from passmill.dev.fake_apns.request_checks import PATH, PushRequest, Refused, check_request
from passmill.dev.fake_apns.script import (
    ACCEPT,
    Accept,
    Answer,
    Disconnect,
    Freeze,
    GoAway,
    Hang,
    LastStream,
    LimitsChange,
    Refuse,
    Reset,
    StreamLimits,
)
from passmill.dev.fake_apns.service import Service

_SLICE: Final = 4096
"""Bytes looked at before answers are made: what h2 does for a stream grows with those open."""
_CREDIT: Final = 16_384
"""Bytes of payload after which the connection's window is opened again."""
_KEPT_PAYLOAD: Final = 8192
"""More than the largest lawful one, and no more than that is kept."""
_ANY_STREAM: Final = 2**31 - 1
_RST_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_CONFIG: Final = H2Configuration(
    client_side=False,
    header_encoding=None,
    validate_outbound_headers=False,  # what is wrong on purpose shall leave
    normalize_outbound_headers=False,
)


class _Push(NamedTuple):
    """A request that is to be answered."""

    request: PushRequest
    stream: int


class Connection(asyncio.Protocol):
    """`certificate_topic`: gives the pass type identifier of a client certificate (DER), None for
    one that is not for pushes."""

    def __init__(
        self, *, service: Service, certificate_topic: Callable[[bytes], str | None]
    ) -> None:
        self._service = service
        self._find_topic = certificate_topic
        self._h2 = H2Connection(_CONFIG)
        self._requests: dict[int, tuple[HeaderList, bytearray]] = {}
        self._timers: dict[int, tuple[asyncio.TimerHandle, _Push]] = {}
        self._closing: asyncio.TimerHandle | None = None
        self._reverting: asyncio.TimerHandle | None = None
        self._last_stream = _ANY_STREAM
        self._pushes = 0
        self._credit = 0
        self._is_over = False

    # ---- what asyncio calls ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what HTTP/2 a server says first."""
        self._loop = asyncio.get_running_loop()
        self._transport = cast("asyncio.Transport", transport)
        self._number = self._service.admit(self)
        tls = transport.get_extra_info("ssl_object")
        if tls.selected_alpn_protocol() != "h2":
            self._service.report_protocol_error("ALPN did not agree on h2")
            self._end(abort=True)
            return
        self._topic = self._find_topic(tls.getpeercert(binary_form=True))
        self._limits = self._service.director.script.limits
        self._h2.local_settings = Settings(
            client=False, initial_values=cast("dict[SettingCodes, int]", _settings(self._limits))
        )
        self._h2.initiate_connection()
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Take frames in, and answer what is complete."""
        try:
            for start in range(0, len(data), _SLICE):
                for event in self._h2.receive_data(data[start : start + _SLICE]):
                    self._handle(event)
                if self._is_over:
                    return
        except ProtocolError as error:
            self._service.report_protocol_error(f"{type(error).__name__}: {error}")
            self._flush()
            self._end(abort=False)
            return
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Record what can no longer be answered."""
        self._is_over = True
        for timer, push in self._timers.values():
            timer.cancel()
            self._record(push, fate=Fate.CUT_OFF)
        self._timers.clear()
        for handle in (self._closing, self._reverting):
            if handle is not None:
                handle.cancel()
        self._service.forget(self)

    def pause_writing(self) -> None:
        """Take nothing more from a client that does not read its answers."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._transport.resume_reading()

    # ---- what the server calls ----

    def disconnect(self, *, abort: bool) -> None:
        """End the connection now."""
        self._end(abort=abort)

    def go_away(self, answer: GoAway) -> None:
        """Say GOAWAY as if the last request seen had a rule for it."""
        if not self._is_over:
            self._announce_end(answer, self._h2.highest_inbound_stream_id)

    def freeze(self) -> None:
        """From now read and write nothing."""
        self._flush()
        self._is_over = True
        self._transport.pause_reading()
        for timer, push in self._timers.values():
            timer.cancel()
            self._record(push, fate=Fate.HUNG)
        self._timers.clear()

    # ---- events ----

    def _handle(self, event: events.Event) -> None:
        if self._is_over:
            return
        if isinstance(event, events.RequestReceived):
            self._requests[event.stream_id] = (event.headers, bytearray())
        elif isinstance(event, events.DataReceived):
            self._take_payload(event)
        elif isinstance(event, events.StreamEnded):
            self._take_request(event.stream_id)
        elif isinstance(event, events.StreamReset):
            self._drop(event.stream_id)
        elif isinstance(event, events.ConnectionTerminated):
            self._end(abort=False)

    def _take_payload(self, event: events.DataReceived) -> None:
        length = event.flow_controlled_length
        if length:
            self._credit += length
            if event.stream_ended is None:
                self._h2.increment_flow_control_window(length, event.stream_id)
            if self._credit >= _CREDIT:
                self._h2.increment_flow_control_window(self._credit)
                self._credit = 0
        found = self._requests.get(event.stream_id)
        if found is not None and len(found[1]) < _KEPT_PAYLOAD:
            found[1].extend(event.data)

    def _take_request(self, stream: int) -> None:
        headers, payload = self._requests.pop(stream)
        checked = check_request(headers, bytes(payload), certificate_topic=self._topic)
        if isinstance(checked, Refused):
            path = dict(headers).get(b":path", b"").decode("latin-1")
            request = PushRequest(path.removeprefix(PATH), self._topic or "", "", 0, "")
            answer = Refuse(status=checked.status, reason=checked.reason)
            if stream <= self._last_stream:
                self._answer(_Push(request, stream), answer)
            return
        push = _Push(checked, stream)
        if stream > self._last_stream:
            self._record(push, fate=Fate.IGNORED)
            return
        refusal = self._service.tokens.refusal(checked.token, checked.topic)
        if refusal is not None:
            self._answer(push, refusal)
            return
        self._act(push)

    def _act(self, push: _Push) -> None:
        self._pushes += 1
        self._service.pushes += 1
        rule = self._service.director.choose(
            Turn(
                token=push.request.token,
                connection=self._number,
                connection_push=self._pushes,
                server_push=self._service.pushes,
            )
        )
        if rule.change is not None:
            self._change(rule.change)
        if rule.delay_seconds:
            timer = self._loop.call_later(rule.delay_seconds, self._act_later, push, rule.answer)
            self._timers[push.stream] = (timer, push)
        else:
            self._perform(push, rule.answer)

    def _act_later(self, push: _Push, answer: Answer) -> None:
        del self._timers[push.stream]
        if self._is_over:
            self._record(push, fate=Fate.CUT_OFF)
            return
        self._perform(push, answer)
        self._flush()

    def _drop(self, stream: int) -> None:
        """The client gave up a stream."""
        self._requests.pop(stream, None)
        waiting = self._timers.pop(stream, None)
        if waiting is not None:
            waiting[0].cancel()
            self._record(waiting[1], fate=Fate.CUT_OFF)

    # ---- answers ----

    def _perform(self, push: _Push, answer: Answer) -> None:
        match answer:
            case Accept() | Refuse():
                self._answer(push, answer)
            case Hang():
                self._record(push, fate=Fate.HUNG)
            case Reset():
                self._h2.reset_stream(push.stream, answer.code)
                self._record(push, fate=Fate.RESET, is_accepted=answer.delivers)
            case Disconnect():
                self._record(push, fate=Fate.DISCONNECTED, is_accepted=answer.delivers)
                self._flush()
                self._end(abort=answer.abort)
            case Freeze():
                self._record(push, fate=Fate.HUNG)
                self.freeze()
            case GoAway():
                if answer.last_stream in {LastStream.THIS, LastStream.ANY}:
                    self._answer(push, ACCEPT)
                else:
                    self._record(push, fate=Fate.IGNORED)
                self._announce_end(answer, push.stream)
            case _:
                assert_never(answer)

    def _answer(self, push: _Push, answer: Accept | Refuse) -> None:
        encoded = encode_answer(answer, push.request.apns_id)
        is_whole = encoded.ends and not encoded.body
        try:
            self._h2.send_headers(push.stream, encoded.headers, end_stream=is_whole)
            if encoded.body:
                self._send_body(push.stream, encoded.body, ends=encoded.ends)
        except ProtocolError:  # the client reset the stream just now
            self._record(push, fate=Fate.CUT_OFF)
            return
        if isinstance(answer, Accept):
            self._record(push, status=200, is_accepted=True, is_lost=answer.is_lost)
        else:
            self._record(push, status=answer.status, reason=answer.reason)

    def _send_body(self, stream: int, body: bytes, *, ends: bool) -> None:
        sent = min(len(body), self._h2.local_flow_control_window(stream))
        size = self._h2.max_outbound_frame_size
        for start in range(0, sent, size):
            piece = body[start : min(start + size, sent)]
            is_last = start + len(piece) == len(body)
            self._h2.send_data(stream, piece, end_stream=ends and is_last)

    def _record(
        self,
        push: _Push,
        *,
        status: int = 0,
        reason: str = "",
        fate: Fate = Fate.ANSWERED,
        is_accepted: bool = False,
        is_lost: bool = False,
    ) -> None:
        request = push.request
        self._service.record(
            PushRecord(
                at=time.monotonic(),
                token=request.token,
                topic=request.topic,
                status=status,
                reason=reason,
                fate=fate,
                is_accepted=is_accepted,
                is_lost=is_lost,
                expiration=request.expiration,
                connection=self._number,
                stream=push.stream,
                apns_id=request.apns_id,
            )
        )

    # ---- the connection itself ----

    def _change(self, change: LimitsChange) -> None:
        before = self._limits
        self._limits = change.limits
        self._h2.update_settings(_settings(change.limits))
        if change.for_seconds is not None:
            if self._reverting is not None:
                self._reverting.cancel()
            self._reverting = self._loop.call_later(
                change.for_seconds, self._revert, LimitsChange(limits=before)
            )

    def _revert(self, change: LimitsChange) -> None:
        if not self._is_over:
            self._change(change)
            self._flush()

    def _announce_end(self, answer: GoAway, stream: int) -> None:
        match answer.last_stream:
            case LastStream.THIS:
                self._last_stream, named = stream, stream
            case LastStream.BEFORE:
                self._last_stream = named = max(stream - 2, 0)
            case LastStream.NONE:
                self._last_stream = named = 0
            case LastStream.ANY:
                named = _ANY_STREAM
            case _:
                assert_never(answer.last_stream)
        self._flush()
        # By hand: after h2's own GOAWAY nothing more could be answered.
        frame = GoAwayFrame(0, last_stream_id=named, error_code=answer.error_code)
        if answer.reason:
            frame.additional_data = json.dumps({"reason": answer.reason}).encode()
        self._transport.write(frame.serialize())
        self._closing = self._loop.call_later(answer.linger_seconds, self._close_gracefully)

    def _close_gracefully(self) -> None:
        if self._is_over:
            return
        self._h2.close_connection(last_stream_id=min(self._last_stream, self._highest()))
        self._flush()
        self._end(abort=False)

    def _highest(self) -> int:
        return self._h2.highest_inbound_stream_id

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._is_over:
            self._transport.write(data)

    def _end(self, *, abort: bool) -> None:
        self._is_over = True
        if abort:
            raw = self._transport.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:  # not closed already
                # uvloop's sockets have no options; the option is the connection's, not the number's
                with socket.socket(fileno=os.dup(raw.fileno())) as same:
                    same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
            self._transport.abort()
        else:
            self._transport.close()


def _settings(limits: StreamLimits) -> dict[SettingCodes | int, int]:
    return {
        SettingCodes.MAX_CONCURRENT_STREAMS: limits.max_concurrent_streams,
        SettingCodes.INITIAL_WINDOW_SIZE: limits.initial_window,
    }
