"""A club whose passes may be on so many devices, and what is kept of those that are one too
many."""

from __future__ import annotations

import itertools
import json
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from passmill.dev.authority import KeyType
from passmill.domain.templates import SharingExcess, SharingPolicy
from passmill.errors import AppError, Reason
from passmill.store import devices
from passmill.store.devices import DeadToken
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.registry import Device, Registry, events_of, pass_type_of
from tests.support.service import Club, Service, certificate
from tests.support.small_card import small_card

DECAY: Final = 30
_numbers = itertools.count()


def policy(
    max_devices: int, excess: SharingExcess = SharingExcess.REFUSE, *, binds: bool = False
) -> SharingPolicy:
    """Lets a pass be on so many devices, seen in the last `DECAY` days."""
    return SharingPolicy(
        max_devices=max_devices, decay_days=DECAY, excess=excess, binds_first_device=binds
    )


async def add_sharing_club(service: Service, sharing: SharingPolicy | None) -> Club:
    """A tenant of a pass type of its own, whose template has this policy."""
    pass_type = f"pass.com.example.shared{next(_numbers)}"
    tenant = await service.add_tenant()
    await tenant.add_identity(certificate(pass_type, key_type=KeyType.P256))
    program_id = await tenant.add_program(pass_type)
    template_id = await tenant.add_template(program_id, replace(small_card(), sharing=sharing))
    await tenant.publish(template_id)
    return Club(tenant=tenant, program_id=program_id, template_id=template_id)


async def is_refused(registry: Registry, device: Device, club: Club, wallet_pass: Pass) -> bool:
    """Whether the policy keeps the phone from the pass, when it registers."""
    try:
        await registry.register(device, club, wallet_pass)
    except AppError as error:
        if error.reason is not Reason.TOO_MANY_DEVICES:
            raise
        return True
    return False


async def excesses(club: Club) -> list[dict[str, Any]]:
    """What is told of devices that were one too many, in order."""
    rows = await events_of(club, "pass.over_shared")
    return [json.loads(row["detail"]) for row in rows]


async def holders_of(club: Club, wallet_pass: Pass) -> set[str]:
    """The phones that are registered for the pass."""
    rows = await club.tenant.fetch(
        "SELECT d.device_library_identifier AS name FROM registrations r"
        " JOIN devices d USING (tenant_id, device_number)"
        " WHERE r.pass_id = $1 AND r.remove_time IS NULL",
        uuid.UUID(wallet_pass.pass_id),
    )
    return {row["name"] for row in rows}


async def age(club: Club, device: Device, *, days: int) -> None:
    """Has everything that is known of a phone be so much longer ago."""
    span = timedelta(days=days)
    await club.tenant.fetch(
        "UPDATE registrations SET remove_time = remove_time - $2::interval WHERE device_number ="
        " (SELECT device_number FROM devices WHERE device_library_identifier = $1)",
        device.name,
        span,
    )
    await club.tenant.fetch(
        "UPDATE devices SET last_seen_time = last_seen_time - $2::interval"
        " WHERE device_library_identifier = $1",
        device.name,
        span,
    )


async def let_token_die(club: Club, device: Device) -> None:
    """Has APNs say that a phone's token is gone."""
    pass_type = await pass_type_of(club)
    async with club.tenant.service.services.database.transaction(club.tenant.caller) as tx:
        [row] = await tx.fetch("SELECT clock_timestamp() AS now")
        dead = DeadToken(push_token=device.token, invalidated_at=row["now"])
        await devices.forget_tokens(tx, [dead], pass_type_identifier=pass_type, now=row["now"])


async def pushed_devices(club: Club) -> set[str]:
    """The phones that pushes are queued for by name."""
    rows = await club.tenant.fetch(
        "SELECT d.device_library_identifier AS name FROM pgqueuer.pgqueuer q JOIN devices d"
        " ON position(int8send(d.device_number) IN q.payload) > 0 WHERE q.entrypoint = 'push'"
    )
    return {row["name"] for row in rows}
