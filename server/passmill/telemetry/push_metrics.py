"""The series of pushes, from looking up whom to reach to what became of it."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_LOOK_UP_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
_PUSH_BUCKETS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0)
_REASONS = 64  # more than APNs has; what it may yet invent must not fill the memory


class PushMetrics:
    """All series of pushes of one process, registered in `registry`. No label names a tenant, a
    pass type or a device."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._reasons: set[str] = set()
        self._pushes = Counter(
            "passmill_pushes_total",
            "Pushes that ended, by outcome and APNs' reason.",
            ["outcome", "reason"],
            registry=registry,
        )
        self._push_seconds = Histogram(
            "passmill_push_batch_seconds",
            "Time a batch of pushes took to end.",
            buckets=_PUSH_BUCKETS,
            registry=registry,
        )
        self._look_up_seconds = Histogram(
            "passmill_push_look_up_seconds",
            "Time to find the devices of a change's passes.",
            buckets=_LOOK_UP_BUCKETS,
            registry=registry,
        )
        self._looked_up = Counter(
            "passmill_push_looked_up_total",
            "Passes whose devices were looked up, by what had the answer: index or database.",
            ["source"],
            registry=registry,
        )
        self._caught_up = Counter(
            "passmill_push_index_caught_up_total",
            "Registrations that look-ups added to the index.",
            registry=registry,
        )
        self._filled = Counter(
            "passmill_push_index_filled_total",
            "Registrations of buckets that were filled anew.",
            registry=registry,
        )
        self._windows = Counter(
            "passmill_push_windows_total",
            "Devices to push, by what their window said: open, trailing (a push at its end was"
            " queued) or joined (one was already).",
            ["state"],
            registry=registry,
        )
        self._held = Counter(
            "passmill_push_endings_held_total",
            "Tokens that APNs refused in a change's first push, left alone as nothing showed that"
            " the topic is good.",
            registry=registry,
        )
        self._ended = Counter(
            "passmill_push_registrations_ended_total",
            "Registrations that ended as APNs said that their token is gone.",
            registry=registry,
        )
        self._pace_seconds = Counter(
            "passmill_push_pace_wait_seconds_total",
            "Time that pushes waited so as not to overrun the edge.",
            registry=registry,
        )
        self._redis_errors = Counter(
            "passmill_redis_errors_total",
            "Questions to Redis without an answer.",
            registry=registry,
        )
        self._redis_away = Gauge(
            "passmill_redis_away",
            "1 in a process that leaves Redis alone as it did not answer.",
            multiprocess_mode="livemax",
            registry=registry,
        )
        self._queue_depth = Gauge(
            "passmill_push_queue_depth",
            "Push jobs that wait for a worker.",
            multiprocess_mode="mostrecent",
            registry=registry,
        )
        self._queue_oldest = Gauge(
            "passmill_push_queue_oldest_seconds",
            "How long the oldest of them has waited.",
            multiprocess_mode="mostrecent",
            registry=registry,
        )
        self._topics_stopped = Gauge(
            "passmill_push_topics_stopped",
            "Pass types whose pushes are stopped, as APNs refuses all of them.",
            multiprocess_mode="mostrecent",
            registry=registry,
        )

    def pushed(self, ended: Mapping[tuple[str, str], int], *, seconds: float) -> None:
        """A batch of pushes ended. `ended`: how many, by outcome and reason."""
        self._push_seconds.observe(seconds)
        for (outcome, reason), count in ended.items():
            if len(self._reasons) < _REASONS:
                self._reasons.add(reason)
            known = reason if reason in self._reasons else "other"
            self._pushes.labels(outcome, known).inc(count)

    def looked_up(self, *, seconds: float, from_index: int, from_database: int) -> None:
        """The devices of so many passes were looked up."""
        self._look_up_seconds.observe(seconds)
        self._looked_up.labels("index").inc(from_index)
        self._looked_up.labels("database").inc(from_database)

    def caught_up(self, registrations: int) -> None:
        """A look-up added registrations to the index."""
        self._caught_up.inc(registrations)

    def bucket_filled(self, registrations: int) -> None:
        """A bucket was filled anew."""
        self._filled.inc(registrations)

    def windows(self, *, is_open: int, trailing: int, joined: int) -> None:
        """What the windows of devices said."""
        self._windows.labels("open").inc(is_open)
        self._windows.labels("trailing").inc(trailing)
        self._windows.labels("joined").inc(joined)

    def endings_held(self, count: int) -> None:
        """Tokens that were refused stay, as it may be the topic."""
        self._held.inc(count)

    def registrations_ended(self, count: int) -> None:
        """Registrations ended with their tokens."""
        self._ended.inc(count)

    def paced(self, seconds: float) -> None:
        """Pushes waited for their turn."""
        self._pace_seconds.inc(seconds)

    def redis_failed(self) -> None:
        """Redis was asked and did not answer, or not in time."""
        self._redis_errors.inc()

    def redis_away(self, is_away: bool) -> None:
        """Whether Redis is left alone for a while."""
        self._redis_away.set(int(is_away))

    def queue(self, *, depth: int, oldest_seconds: float) -> None:
        """How full the queue of pushes was just now."""
        self._queue_depth.set(depth)
        self._queue_oldest.set(oldest_seconds)

    def topics_stopped(self, count: int) -> None:
        """So many pass types are stopped."""
        self._topics_stopped.set(count)
