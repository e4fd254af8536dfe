"""What issues and changes passes, wired the same for whoever does it."""

from __future__ import annotations

import asyncio

from passmill.compose_frame import Frame
from passmill.usecases.edit_pass import EditPass
from passmill.usecases.get_pass_bundle import GetPassBundle
from passmill.usecases.issue_group import IssueGroups
from passmill.usecases.issue_passes import IssuePasses


def issue_passes(frame: Frame, tasks: asyncio.TaskGroup) -> IssuePasses:
    """The use case on a frame; its groups' tasks belong to the task group given."""
    rendering = frame.rendering
    return IssuePasses(
        mutator=frame.mutator,
        load_revision=frame.load_revision,
        identities=frame.identities,
        numbers=rendering.numbers,
        contents=rendering.contents,
        groups=IssueGroups(
            database=frame.database,
            sealer=rendering.sealer,
            clock=frame.clock,
            metrics=frame.metrics,
            tasks=tasks,
        ),
        clock=frame.clock,
    )


def edit_pass(frame: Frame) -> EditPass:
    """The use case on a frame."""
    rendering = frame.rendering
    return EditPass(
        mutator=frame.mutator,
        find_pass=rendering.find_pass,
        load_revision=frame.load_revision,
        identities=frame.identities,
        contents=rendering.contents,
        finish_signing=rendering.finish_signing,
        clock=frame.clock,
        metrics=frame.metrics,
    )


def get_pass_bundle(frame: Frame) -> GetPassBundle:
    """The use case on a frame."""
    rendering = frame.rendering
    return GetPassBundle(
        find_pass=rendering.find_pass,
        load_revision=frame.load_revision,
        identities=frame.identities,
        contents=rendering.contents,
        sealer=rendering.sealer,
        finish_signing=rendering.finish_signing,
        metrics=frame.metrics,
    )
