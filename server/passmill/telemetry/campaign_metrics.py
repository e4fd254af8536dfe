"""The series of campaigns, stage by stage."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# Seconds: a shard of a few recipients, up to one on a machine that is much too busy.
SHARD_BUCKETS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)


class CampaignMetrics:
    """All series of campaigns of one process, registered in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._loaded = Counter(
            "passmill_recipients_loaded_total",
            "Recipients appended to streams: accepted, or refused and kept with the reason.",
            ["outcome"],
            registry=registry,
        )
        self._recipients = Counter(
            "passmill_campaign_recipients_total",
            "Recipients that workers tried to serve.",
            ["action", "outcome"],
            registry=registry,
        )
        self._failures = Counter(
            "passmill_campaign_failures_total",
            "Recipients that were not served, by reason.",
            ["reason"],
            registry=registry,
        )
        self._shard_seconds = Histogram(
            "passmill_shard_seconds",
            "Time from taking a shard to its last write.",
            ["action"],
            buckets=SHARD_BUCKETS,
            registry=registry,
        )
        self._shard_sign_seconds = Histogram(
            "passmill_shard_sign_seconds",
            "Time a shard took to render and sign.",
            buckets=SHARD_BUCKETS,
            registry=registry,
        )
        self._shard_write_seconds = Histogram(
            "passmill_shard_write_seconds",
            "Time a shard took to write.",
            buckets=SHARD_BUCKETS,
            registry=registry,
        )
        self._shards_retried = Counter(
            "passmill_jobs_retried_total",
            "Jobs that failed and were put back, by kind.",
            ["kind"],
            registry=registry,
        )
        self._queue_depth = Gauge(
            "passmill_queue_depth",
            "Shards that wait for a worker.",
            multiprocess_mode="mostrecent",
            registry=registry,
        )
        self._queue_oldest = Gauge(
            "passmill_queue_oldest_seconds",
            "How long the oldest of them has waited.",
            multiprocess_mode="mostrecent",
            registry=registry,
        )

    def loaded(self, *, accepted: int, refused: int) -> None:
        """Recipients were appended to a stream."""
        self._loaded.labels("accepted").inc(accepted)
        self._loaded.labels("refused").inc(refused)

    def shard_done(
        self,
        action: str,
        *,
        seconds: float,
        sign_seconds: float,
        write_seconds: float,
        recipients: Mapping[str, int],
        failures: Mapping[str, int],
    ) -> None:
        """A shard is done. `action`: what it did, "void" also of one that voids what its campaign
        issued; `recipients`: by outcome; `failures`: by reason."""
        self._shard_seconds.labels(action).observe(seconds)
        self._shard_sign_seconds.observe(sign_seconds)
        self._shard_write_seconds.observe(write_seconds)
        for outcome, count in recipients.items():
            self._recipients.labels(action, outcome).inc(count)
        for reason, count in failures.items():
            self._failures.labels(reason).inc(count)

    def job_retried(self, kind: str) -> None:
        """A job failed and was put back."""
        self._shards_retried.labels(kind).inc()

    def queue(self, *, depth: int, oldest_seconds: float) -> None:
        """How full the queue was just now."""
        self._queue_depth.set(depth)
        self._queue_oldest.set(oldest_seconds)
