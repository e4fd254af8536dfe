"""Every Prometheus series, named once. Labels stay few: method, code, outcome, kind; never an id of
a pass, a holder or a tenant."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# Seconds. From a cached read to the slowest batch; the middle is dense, p99 is read off there.
CALL_BUCKETS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0,
)  # fmt: skip
SIGN_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class RpcMetrics:
    """The series of one method, with its labels bound beforehand."""

    __slots__ = ("_handled", "_handled_by_code", "_in_flight", "_method", "_seconds", "_started")

    def __init__(
        self,
        *,
        method: str,
        started: Counter,
        handled: Counter,
        seconds: Histogram,
        in_flight: Gauge,
    ) -> None:
        self._method = method
        self._started = started.labels(method)
        self._handled = handled
        self._handled_by_code: dict[str, Counter] = {}
        self._seconds = seconds.labels(method)
        self._in_flight = in_flight.labels(method)

    def started(self) -> None:
        """A call came in."""
        self._started.inc()
        self._in_flight.inc()

    def handled(self, code: str, seconds: float) -> None:
        """A call that `started` was answered with the gRPC status `code` (its name)."""
        counter = self._handled_by_code.get(code)
        if counter is None:
            counter = self._handled_by_code[code] = self._handled.labels(self._method, code)
        counter.inc()
        self._seconds.observe(seconds)
        self._in_flight.dec()


class Metrics:
    """All series of one process, registered in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rpc_started = Counter(
            "passmill_rpc_started_total", "Calls that came in.", ["method"], registry=registry
        )
        self._rpc_handled = Counter(
            "passmill_rpc_handled_total",
            "Calls answered, by gRPC status.",
            ["method", "code"],
            registry=registry,
        )
        self._rpc_seconds = Histogram(
            "passmill_rpc_seconds",
            "Time from a call's arrival to its answer.",
            ["method"],
            buckets=CALL_BUCKETS,
            registry=registry,
        )
        self._rpc_in_flight = Gauge(
            "passmill_rpc_in_flight",
            "Calls at work.",
            ["method"],
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._refusals = Counter(
            "passmill_refusals_total", "Calls refused, by reason.", ["reason"], registry=registry
        )
        self._replays = Counter(
            "passmill_replays_total",
            "Retried calls that were given their stored answer.",
            registry=registry,
        )
        self._passes_issued = Counter(
            "passmill_passes_issued_total", "Passes issued and signed.", registry=registry
        )
        self._pass_changes = Counter(
            "passmill_pass_changes_total",
            "Passes changed after their issue: update, void, reinstate.",
            ["change"],
            registry=registry,
        )
        self._bundles = Counter(
            "passmill_bundles_assembled_total",
            "Bundles assembled from stored recipes.",
            ["outcome"],
            registry=registry,
        )
        self._signatures = Counter(
            "passmill_signatures_total",
            "Signatures asked of the signer.",
            ["outcome"],
            registry=registry,
        )
        self._sign_seconds = Histogram(
            "passmill_sign_seconds",
            "Time of one signing job, waiting for a thread included.",
            buckets=SIGN_BUCKETS,
            registry=registry,
        )
        self._left_behind = Counter(
            "passmill_signatures_left_behind_total",
            "Outstanding signatures that a sweep could not make, once for each try.",
            registry=registry,
        )
        self._repaired = Counter(
            "passmill_signatures_repaired_total",
            "Signatures that came out wrong, were caught and made again.",
            registry=registry,
        )
        self._identities_expiring = Gauge(
            "passmill_signing_identities_expiring",
            "Active signing identities that end within so many days, or have ended.",
            ["within_days"],
            multiprocess_mode="mostrecent",
            registry=registry,
        )
        self._process_ready = Gauge(
            "passmill_process_ready",
            "Processes whose checks all pass.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._check_ready = Gauge(
            "passmill_check_ready",
            "Whether a check of readiness passes in every process (1) or fails in one (0).",
            ["check"],
            multiprocess_mode="livemin",
            registry=registry,
        )
        self._signed = self._signatures.labels("signed")
        self._signing_failed = self._signatures.labels("failed")

    def rpc(self, method: str) -> RpcMetrics:
        """The series of `method`, written `Service/Method`; ask once, keep the answer."""
        return RpcMetrics(
            method=method,
            started=self._rpc_started,
            handled=self._rpc_handled,
            seconds=self._rpc_seconds,
            in_flight=self._rpc_in_flight,
        )

    def refused(self, reason: str) -> None:
        """A call was refused for `reason`, one of the protocol's ErrorReason names."""
        self._refusals.labels(reason).inc()

    def replayed(self) -> None:
        """A retried call was given its stored answer."""
        self._replays.inc()

    def issued(self, count: int) -> None:
        """`count` passes were issued and their signatures stored."""
        self._passes_issued.inc(count)

    def changed(self, change: str, count: int = 1) -> None:
        """`count` passes were changed: `updated`, `voided`, `reinstated`, `personalized` or
        `erased`."""
        self._pass_changes.labels(change).inc(count)

    def assembled(self, outcome: str, count: int = 1) -> None:
        """`count` bundles were assembled: `served`, or `mismatch` when the recipe did not fit."""
        self._bundles.labels(outcome).inc(count)

    @contextmanager
    def signing(self, count: int) -> Iterator[None]:
        """Round one signing job of `count` passes: its time, and how it went."""
        began = perf_counter()
        try:
            yield
        except BaseException:
            self._signing_failed.inc(count)
            raise
        finally:
            self._sign_seconds.observe(perf_counter() - began)
        self._signed.inc(count)

    def left_behind(self, count: int) -> None:
        """A sweep tried to sign `count` passes in vain."""
        self._left_behind.inc(count)

    def repaired(self, count: int) -> None:
        """`count` signatures came out wrong, were caught and made again."""
        self._repaired.inc(count)

    def identities_expiring(self, within_days: int, count: int) -> None:
        """`count` active signing identities end within so many days, or have ended."""
        self._identities_expiring.labels(str(within_days)).set(count)

    def checked(self, check: str, *, is_ready: bool) -> None:
        """A check of readiness passed or failed in this process."""
        self._check_ready.labels(check).set(int(is_ready))

    def process_ready(self, *, is_ready: bool) -> None:
        """All checks of this process pass, or one does not."""
        self._process_ready.set(int(is_ready))
