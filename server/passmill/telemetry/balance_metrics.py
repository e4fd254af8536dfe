"""The series of what ends by itself: points, and tiers."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class BalanceMetrics:
    """All of them of one process, registered in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._entries = Counter(
            "passmill_balance_expiries_total",
            "Entries that took from balances what had ended.",
            registry=registry,
        )
        self._expired = Counter(
            "passmill_balance_expired_total",
            "What they took, in the smallest part of each unit.",
            ["unit"],
            registry=registry,
        )
        self._lag = Gauge(
            "passmill_balance_expiry_lag_seconds",
            "For how long what ended first, and is not held, has not been taken.",
            multiprocess_mode="mostrecent",
            registry=registry,
        )
        self._tiers = Counter(
            "passmill_tiers_changed_total",
            "Accounts whose tier is another because what was earned is no longer counted.",
            registry=registry,
        )

    def expired(self, unit: str, amount: int) -> None:
        """An entry took so much of a unit."""
        self._entries.inc()
        self._expired.labels(unit).inc(amount)

    def expiry_lag(self, seconds: float) -> None:
        """How late the service is; 0 when nothing is left to take."""
        self._lag.set(seconds)

    def tiers_changed(self, accounts: int) -> None:
        """Accounts have another tier, by time alone."""
        self._tiers.inc(accounts)
