"""Say how passes of a program are treated at the counter."""

from __future__ import annotations

import json

from passmill.domain.clock import Clock
from passmill.domain.counter_policies import CounterPolicy
from passmill.store.counter_policies import set_policy
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.store.programs import get_program
from passmill.usecases.mutation import Answer, Mutation, Mutator
from passmill.usecases.program_counters import ProgramCounters


class SetCounterPolicy:
    """Sets programs' policies."""

    __slots__ = ("_clock", "_counters", "_mutator")

    def __init__(self, *, mutator: Mutator, counters: ProgramCounters, clock: Clock) -> None:
        self._mutator = mutator
        self._counters = counters
        self._clock = clock

    async def __call__(self, mutation: Mutation[CounterPolicy], policy: CounterPolicy) -> Answer:
        """Answers with the policy, which replaces the one before. AppError NOT_FOUND."""

        async def work(tx: Transaction) -> CounterPolicy:
            await get_program(tx, policy.program_id)
            await set_policy(tx, policy)
            detail = json.dumps({"program_id": str(policy.program_id)})
            now = self._clock.now()
            await insert_event(tx, kind="counter_policy.set", pass_ids=[], detail=detail, now=now)
            return policy

        answer = await self._mutator.run(mutation, work)
        self._counters.forget()
        return answer
