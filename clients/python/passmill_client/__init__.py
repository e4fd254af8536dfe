"""Typed gRPC client of Passmill, the wallet pass service."""

from passmill.v1.campaign_pb2 import Campaign, Recipient, RecipientResult
from passmill.v1.event_pb2 import Event
from passmill.v1.template_pb2 import Money, TemplateContent, Value
from passmill.v1.wallet_pass_pb2 import Pass, PassDraft, PassRef
from passmill_client.admin_client import AdminClient
from passmill_client.call import Reply
from passmill_client.client import AsyncClient, Client
from passmill_client.errors import FieldProblem, PassmillError
from passmill_client.operations.claims import claim_link_draft
from passmill_client.values import PythonValue, from_value, pass_draft, to_value

__all__ = [
    "AdminClient",
    "AsyncClient",
    "Campaign",
    "Client",
    "Event",
    "FieldProblem",
    "Money",
    "Pass",
    "PassDraft",
    "PassRef",
    "PassmillError",
    "PythonValue",
    "Recipient",
    "RecipientResult",
    "Reply",
    "TemplateContent",
    "Value",
    "claim_link_draft",
    "from_value",
    "pass_draft",
    "to_value",
]
