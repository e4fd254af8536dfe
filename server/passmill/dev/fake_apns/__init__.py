"""A stand-in for Apple's push service, to develop and test against. No device hears of it."""

from passmill.dev.fake_apns.post import Delivery, Post
from passmill.dev.fake_apns.process import FakeApnsProcess
from passmill.dev.fake_apns.records import Fate, PushLog, PushRecord
from passmill.dev.fake_apns.script import (
    Accept,
    Body,
    Disconnect,
    Freeze,
    GoAway,
    Hang,
    Headers,
    LastStream,
    LimitsChange,
    Refuse,
    Reset,
    ResetCode,
    Rule,
    Script,
    StreamLimits,
)
from passmill.dev.fake_apns.server import FakeApns, FakeApnsCertificates
from passmill.dev.fake_apns.tokens import Tokens

__all__ = [
    "Accept",
    "Body",
    "Delivery",
    "Disconnect",
    "FakeApns",
    "FakeApnsCertificates",
    "FakeApnsProcess",
    "Fate",
    "Freeze",
    "GoAway",
    "Hang",
    "Headers",
    "LastStream",
    "LimitsChange",
    "Post",
    "PushLog",
    "PushRecord",
    "Refuse",
    "Reset",
    "ResetCode",
    "Rule",
    "Script",
    "StreamLimits",
    "Tokens",
]
