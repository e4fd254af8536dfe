"""The generated messages and enums of the protocol under one name.

    from passmill_client import messages
    messages.Field(key="points", position=messages.FIELD_POSITION_HEADER, value="{points}")

What each means is said in proto/passmill/v1/*.proto, and so in the docstrings of their stubs.
"""

from passmill.v1.access_service_pb2 import *  # noqa: F403 - all of the protocol, as it is
from passmill.v1.admin_service_pb2 import *  # noqa: F403
from passmill.v1.api_scope_pb2 import *  # noqa: F403
from passmill.v1.balance_pb2 import *  # noqa: F403
from passmill.v1.balance_service_pb2 import *  # noqa: F403
from passmill.v1.campaign_pb2 import *  # noqa: F403
from passmill.v1.campaign_service_pb2 import *  # noqa: F403
from passmill.v1.chain_pb2 import *  # noqa: F403
from passmill.v1.counter_pb2 import *  # noqa: F403
from passmill.v1.counter_service_pb2 import *  # noqa: F403
from passmill.v1.device_pb2 import *  # noqa: F403
from passmill.v1.device_service_pb2 import *  # noqa: F403
from passmill.v1.enrolment_pb2 import *  # noqa: F403
from passmill.v1.enrolment_service_pb2 import *  # noqa: F403
from passmill.v1.error_reason_pb2 import *  # noqa: F403
from passmill.v1.event_pb2 import *  # noqa: F403
from passmill.v1.event_service_pb2 import *  # noqa: F403
from passmill.v1.holder_pb2 import *  # noqa: F403
from passmill.v1.holder_service_pb2 import *  # noqa: F403
from passmill.v1.pass_service_pb2 import *  # noqa: F403
from passmill.v1.program_pb2 import *  # noqa: F403
from passmill.v1.program_service_pb2 import *  # noqa: F403
from passmill.v1.request_meta_pb2 import *  # noqa: F403
from passmill.v1.scan_pb2 import *  # noqa: F403
from passmill.v1.scan_service_pb2 import *  # noqa: F403
from passmill.v1.template_pb2 import *  # noqa: F403
from passmill.v1.template_service_pb2 import *  # noqa: F403
from passmill.v1.wallet_pass_pb2 import *  # noqa: F403
