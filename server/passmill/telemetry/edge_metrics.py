"""The series of the edge: by route and class of status, never by device, pass or address."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# Seconds. Most answers take less than one of them's first.
REQUEST_BUCKETS = (
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
)  # fmt: skip


class RouteMetrics:
    """The series of one route, with its labels bound beforehand."""

    __slots__ = ("_by_class", "_requests", "_route", "_seconds")

    def __init__(self, *, route: str, requests: Counter, seconds: Histogram) -> None:
        self._route = route
        self._requests = requests
        self._by_class: dict[int, Counter] = {}
        self._seconds = seconds.labels(route)

    def answered(self, status: int, seconds: float) -> None:
        """A request was answered with this HTTP status, so long after it came."""
        status_class = status // 100
        counter = self._by_class.get(status_class)
        if counter is None:
            counter = self._by_class[status_class] = self._requests.labels(
                self._route, f"{status_class}xx"
            )
        counter.inc()
        self._seconds.observe(seconds)


class EdgeMetrics:
    """All series of the edge of one process, registered in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "passmill_edge_requests_total",
            "Requests answered, by route and class of status.",
            ["route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "passmill_edge_seconds",
            "Time from a request's arrival to its answer.",
            ["route"],
            buckets=REQUEST_BUCKETS,
            registry=registry,
        )
        self._refusals = Counter(
            "passmill_edge_refusals_total",
            "Requests refused, by reason.",
            ["reason"],
            registry=registry,
        )
        self._logs = Counter(
            "passmill_edge_device_logs_total",
            "Lines that devices sent to be logged, by what went wrong with them.",
            ["kind"],
            registry=registry,
        )
        self._connections = Gauge(
            "passmill_edge_connections",
            "Open connections.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._cut = Counter(
            "passmill_edge_connections_cut_total",
            "Connections ended by us: idle, or too slow.",
            ["cause"],
            registry=registry,
        )

    def route(self, route: str) -> RouteMetrics:
        """The series of `route`; ask once, keep the answer."""
        return RouteMetrics(route=route, requests=self._requests, seconds=self._seconds)

    def refused(self, reason: str) -> None:
        """A request was refused."""
        self._refusals.labels(reason).inc()

    def device_logs(self, kind: str, count: int) -> None:
        """A device sent `count` lines of this kind."""
        self._logs.labels(kind).inc(count)

    def connections(self, count: int) -> None:
        """So many connections are open now."""
        self._connections.set(count)

    def cut(self, cause: str) -> None:
        """A connection was ended: `idle` or `slow`."""
        self._cut.labels(cause).inc()
