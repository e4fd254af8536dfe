"""`passmill campaign import`. What is the same import, run again: `identity` says it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from passmill.cli.campaign import watching
from passmill.cli.campaign.cells import Reading
from passmill.cli.campaign.conversion import Conversion
from passmill.cli.campaign.csv_source import CsvSource
from passmill.cli.campaign.destination import Destination, Wanted
from passmill.cli.campaign.errors import CommandFailed
from passmill.cli.campaign.identity import ImportIdentity
from passmill.cli.campaign.loading import Counts, Loading
from passmill.cli.campaign.mapping import ColumnMapping, Mapped
from passmill.cli.campaign.ndjson_source import NdjsonSource, RejectedJson
from passmill.cli.campaign.parquet_source import ParquetSource
from passmill.cli.campaign.progress import Progress
from passmill.cli.campaign.rejects import RejectFile
from passmill.cli.campaign.sources import Source, content_hash, find_format
from passmill.cli.campaign.words import counted
from passmill_client import Campaign, Client, messages
from passmill_client.operations.campaigns import Action

PARTLY: Final = 3
"""The exit status when some rows, but not all, were refused."""
_CHUNK_ROWS, _WINDOW = 500, 8
# Whose rows name passes and say no more.
_NAMING: Final = frozenset({"void", "notify"})
_MAX_NAME: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What is imported, and how. `action`: issue, update, void or notify, which has `slot` and
    `message`. `map`: column and target of each
    --map. `run`: tells imports of the same file apart. `claim_days`: 0 for links that do not end.
    `start_time` None: at once."""

    path: Path
    action: str
    template_id: str
    revision: int
    name: str
    run: str
    map: Sequence[tuple[str, str]]
    format: str | None
    encoding: str | None
    delimiter: str | None
    reading: Reading
    reading_words: Sequence[str]
    number_rows: bool
    claim_links: bool
    claim_days: int
    claim_source: str
    priority: messages.Campaign.Priority.ValueType
    rollout: messages.RolloutPlan | None
    reason: str
    slot: str
    message: str
    start: bool
    start_time: datetime | None
    watch: bool


def run(client: Client, options: ImportOptions) -> int:
    """Imports a file; gives the exit status. Run again it goes on where it stopped."""
    _check_links(options)
    return _Import(client, options).run()


class _Import:
    def __init__(self, client: Client, options: ImportOptions) -> None:
        self._client = client
        self._options = options
        self._source = open_source(options)
        self._identity: ImportIdentity

    def run(self) -> int:
        options = self._options
        _say(f"{options.path}: {self._source.description}")
        if next(iter(self._source.rows(self._source.columns)), None) is None:
            raise CommandFailed(f"{options.path} has no rows, so there is nothing to import.")
        self._identity = ImportIdentity(
            content=content_hash(options.path),
            action=options.action,
            template_id=options.template_id,
            run=options.run,
            reading=[
                self._source.description,
                sorted(options.map),
                options.reading_words,
                options.number_rows,
            ],
        )
        destination = Destination(
            self._client,
            self._identity,
            Wanted(
                name=options.name or _shown_name(options.path),
                action=_action(options),
                priority=options.priority,
                rollout=options.rollout,
            ),
        )
        slots = self._slots(options.revision)
        if not destination.is_known():
            self._map(slots)  # before anything is made: what is wrong here, the user mends
        campaign, is_new = destination.campaign()
        if pinned := _pinned_revision(campaign):
            slots = self._slots(pinned)  # whatever was published since it was made
        mapped = self._map(slots)
        for column, target in mapped.columns:
            if column in self._source.columns:
                _say(f"  {column} -> {target}")
        if unused := [each for each in mapped.unused if each in self._source.columns]:
            _say(f"  not used: {', '.join(unused)}")
        _say(f"campaign {campaign.campaign_id} ({campaign.display_name})")
        stream = destination.stream(campaign, is_new=is_new)
        counts = self._load(stream, mapped, slots)
        if counts.rejected and counts.rejected == counts.rows:
            told = "The only row was" if counts.rows == 1 else f"All {counts.rows:,} rows were"
            raise CommandFailed(
                f"{told} refused, so nothing is started: {self._rejects_path} says why."
            )
        return self._start(campaign.campaign_id, counts)

    @property
    def _rejects_path(self) -> Path:
        path = self._options.path
        return path.with_name(f"{path.name}.rejects.csv")

    def _slots(self, revision: int) -> Sequence[messages.Slot]:
        if self._options.action in _NAMING:
            return ()
        found = self._client.get_template_revision(self._options.template_id, revision=revision)
        return found.content.slots

    def _map(self, slots: Sequence[messages.Slot]) -> Mapped:
        mapping = ColumnMapping(
            slots=slots,
            given=self._options.map,
            wants_refs=self._options.action != "issue",
            wants_only_refs=self._options.action in _NAMING,
            needs_slots=self._options.action == "issue",
            numbered=self._options.number_rows,
        )
        columns = list(self._source.columns)
        if self._source.is_open_ended:
            found = {str(target) for _, target in mapping.resolve(columns).columns}
            columns += [name for name in mapping.names() if name not in {*found, *columns}]
        return mapping.resolve(columns)

    def _load(
        self,
        stream: messages.RecipientStream,
        mapped: Mapped,
        slots: Sequence[messages.Slot],
    ) -> Counts:
        if stream.next_offset:
            _say(f"going on: {stream.next_offset:,} recipients are there already")
        conversion = Conversion(
            mapped.columns,
            slots=slots,
            reading=self._options.reading,
            has_draft=self._options.action == "issue",
        )
        wanted = [column for column, _ in mapped.columns]
        with (
            RejectFile(self._rejects_path, raw_columns=self._source.raw_columns) as rejects,
            Progress("importing") as progress,
        ):

            def show(counts: Counts) -> None:
                note = f"{counts.rejected:,} refused" if counts.rejected else ""
                progress.show(counts.rows, self._source.fraction(), note=note)

            loading = Loading(
                self._client,
                self._source,
                wanted=wanted,
                conversion=conversion,
                rejects=rejects,
                on_progress=show,
            )
            count = loading.run(stream, window=_WINDOW, chunk_size=_CHUNK_ROWS)
            progress.finish(loading.counts.rows)
        if stream.state == messages.RecipientStream.STATE_OPEN:
            self._client.finalize_recipient_stream(
                stream,
                expected_rows=count,
                request_id=self._identity.of_stream(f"finalize {stream.writer_epoch}"),
            )
        if rejects.kept is not None:
            _say(f"{self._rejects_path} had been changed by hand: it is {rejects.kept} now.")
        counts = loading.counts
        _say(f"{counts.rows - counts.rejected:,} of {counted(counts.rows, 'row')} loaded.")
        if counts.rejected:
            _say(f"{self._rejects_path} says why the others were refused: mend them there, and")
            _say("import that file.")
        return counts

    def _start(self, campaign_id: str, counts: Counts) -> int:
        status = PARTLY if counts.rejected else 0
        campaign = self._client.get_campaign(campaign_id)
        if not self._options.start:
            _say(f"Not started. passmill campaign start {campaign_id} starts it.")
            print(campaign_id)
            return status
        if campaign.state == Campaign.STATE_DRAFT:
            campaign = self._client.start_campaign(
                campaign_id,
                start_time=self._options.start_time,
                request_id=self._identity.of_campaign("start"),
            )
        _say(f"The campaign is {watching.state_name(campaign)}.")
        print(campaign_id)
        status = max(status, watching.STATUSES.get(campaign.state, 0))
        if self._options.claim_links:
            _say(f"passmill campaign export {campaign_id} gives the claim links when it has ended.")
        if self._options.watch:
            return max(status, watching.run(self._client, campaign_id))
        _say(f"passmill campaign watch {campaign_id} shows how far it is.")
        return status


def open_source(options: ImportOptions) -> Source:
    """The file to import. CommandFailed when it is not there, or not clear."""
    path = options.path
    if not path.is_file():
        raise CommandFailed(f"There is no file {path}.")
    match find_format(path, options.format):
        case "parquet":
            return ParquetSource(path)
        case "ndjson":
            return NdjsonSource(path, encoding=options.encoding)
        case _:
            source = CsvSource(path, encoding=options.encoding, delimiter=options.delimiter)
            return RejectedJson(source) if source.holds_json else source


def _action(
    options: ImportOptions,
) -> Action:
    match options.action:
        case "update":
            return messages.UpdateAction(template_id=options.template_id, revision=options.revision)
        case "void":
            return messages.VoidAction(reason=options.reason)
        case "notify":
            return messages.NotifyAction(
                template_id=options.template_id, slot=options.slot, message=options.message
            )
        case _:
            return messages.IssueAction(
                template_id=options.template_id,
                revision=options.revision,
                claim_links=_links(options) if options.claim_links else None,
            )


def _links(options: ImportOptions) -> messages.CampaignLinks:
    links = messages.CampaignLinks(source=options.claim_source)
    if options.claim_days:
        links.lifetime_days = options.claim_days
    return links


def _check_links(options: ImportOptions) -> None:
    if options.claim_links and options.action != "issue":
        raise CommandFailed("--claim-links needs --action issue: links are made with the passes.")
    if (options.claim_days or options.claim_source) and not options.claim_links:
        raise CommandFailed("--claim-days and --claim-source say of which kind: --claim-links too.")


def _shown_name(path: Path) -> str:
    """The file's name for people; file names may be bytes of any encoding."""
    return os.fsencode(path.name).decode("utf-8", "replace")[:_MAX_NAME]


def _pinned_revision(campaign: Campaign) -> int:
    action = campaign.action
    return action.issue.revision or action.update.revision


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
