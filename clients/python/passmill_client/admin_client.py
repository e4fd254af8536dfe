"""The operators' client. What each method does is said at its operation."""

from __future__ import annotations

from passmill_client.blocking import Connection, blocking, paging
from passmill_client.channel_settings import ChannelSettings, Variables
from passmill_client.client import TIMEOUT_SECONDS
from passmill_client.operations import admin

_ADMIN = Variables(address="PASSMILL_ADMIN_ADDRESS", key="PASSMILL_OPERATOR_KEY")


class AdminClient(Connection):
    """Tenants, API keys and signing identities, on the admin port. With an operator's key it
    reaches every tenant; with an API key of scope admin its own, and `tenant_id` is left out."""

    def __init__(
        self,
        address: str | None = None,
        key: str | None = None,
        *,
        channels: int = 1,
        timeout: float = TIMEOUT_SECONDS,
        root_certificates: bytes | None = None,
        client_certificate: tuple[bytes, bytes] | None = None,
        plaintext: bool = False,
    ) -> None:
        """As `Client`; the variables are PASSMILL_ADMIN_ADDRESS and PASSMILL_OPERATOR_KEY."""
        settings = ChannelSettings(
            address=address,
            key=key,
            variables=_ADMIN,
            root_certificates=root_certificates,
            client_certificate=client_certificate,
            plaintext=plaintext,
        )
        super().__init__(settings, channels=channels, timeout=timeout)

    create_tenant = blocking(admin.create_tenant)
    set_tenant_state = blocking(admin.set_tenant_state)
    get_tenant = blocking(admin.get_tenant)
    list_tenants = paging(admin.list_tenants)
    create_api_key = blocking(admin.create_api_key)
    revoke_api_key = blocking(admin.revoke_api_key)
    list_api_keys = paging(admin.list_api_keys)
    upload_signing_identity = blocking(admin.upload_signing_identity)
    check_signing_identity = blocking(admin.check_signing_identity)
    list_signing_identities = paging(admin.list_signing_identities)
    activate_signing_identity = blocking(admin.activate_signing_identity)
    rotate_barcode_key = blocking(admin.rotate_barcode_key)
    revoke_barcode_key = blocking(admin.revoke_barcode_key)
    list_barcode_keys = paging(admin.list_barcode_keys)
