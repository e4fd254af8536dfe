"""Campaigns over cards that ask for a sign-up: what they issue has the form, what they change keeps
it or stays without."""

import pytest

from passmill.rpc.convert_template import values_to_proto
from passmill.v1.campaign_pb2 import Recipient
from passmill.v1.wallet_pass_pb2 import PassDraft
from tests.edge.rig import Edge, hold
from tests.support import templates
from tests.support.bundles import pass_json, read_bundle, verify
from tests.support.campaign_worker import open_campaign_worker
from tests.support.service import Service, authority
from tests.support.shards import Row, open_runner
from tests.support.sign_up_card import sign_up_card
from tests.support.sign_ups import FORM_FILES, SignUpClub, new_token, open_sign_up_worker, sign_up

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]


def _has_form(bundle: bytes) -> bool:
    verify(bundle, authority())
    found = read_bundle(bundle).keys() & FORM_FILES
    assert found in (set(), FORM_FILES)
    return bool(found)


async def test_a_campaign_issues_with_the_form(
    service: Service, edge: Edge, club: SignUpClub
) -> None:
    """Passes that a campaign issues ask for a sign-up, and can be signed up with."""
    values = values_to_proto(templates.values(sign_up_card()))
    async with open_campaign_worker(service, club.club) as worker:
        people = [
            Recipient(external_id=f"m{at}", draft=PassDraft(values=values)) for at in range(3)
        ]
        campaign = await worker.start(await worker.loaded(people))
        await worker.serve_due()
        results = await worker.campaigns.results(campaign)
        issued = [await worker.pass_of(each) for each in results]
    assert len(issued) == 3
    assert all([_has_form(await club.club.bundle(each)) for each in issued])
    held = await hold(club.club, issued[0])
    async with open_sign_up_worker(service):
        assert (await sign_up(edge, held, new_token())).status_code == 200
    assert not _has_form(await club.club.bundle(issued[0]))


@pytest.mark.parametrize("takes_back", [False, True])
async def test_a_shard_changes_both_kinds(
    service: Service, edge: Edge, club: SignUpClub, takes_back: bool
) -> None:
    """A shard over passes that were signed up with and others signs each with its own files, also
    when it is taken back."""
    passes = [await club.issue() for _ in range(6)]
    async with open_sign_up_worker(service):
        for held in passes[::2]:
            assert (await sign_up(edge, held, new_token())).status_code == 200
    rows = [
        Row(pass_id=held.wallet_pass.pass_id, external_id=f"r{at}", values={"points": 100 + at})
        for at, held in enumerate(passes)
    ]
    async with open_runner(service, club.club) as runner:
        campaign = await runner.begin(await runner.draft(await runner.update_action(), rows))
        assert (await runner.serve(campaign)).succeeded == 6
        if takes_back:
            assert (await runner.serve(await runner.take_back(campaign))).succeeded == 6
    bundles = [await club.club.bundle(held.wallet_pass) for held in passes]
    assert [_has_form(bundle) for bundle in bundles] == [False, True] * 3
    shown = [pass_json(each)["storeCard"]["headerFields"][0]["value"] for each in bundles]
    assert (shown == [100 + at for at in range(6)]) is not takes_back
