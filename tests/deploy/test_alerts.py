"""The alerts speak of what the service counts, and the runbook of every alert."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from passmill.domain.push_outcomes import PushState
from passmill.edge.refusals import RefusalReason
from passmill.errors import Reason
from passmill.telemetry.balance_metrics import BalanceMetrics
from passmill.telemetry.campaign_metrics import CampaignMetrics
from passmill.telemetry.edge_metrics import EdgeMetrics
from passmill.telemetry.metrics import Metrics
from passmill.telemetry.push_metrics import PushMetrics
from passmill.usecases.watch_identities import EXPIRY_DAYS

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = (DEPLOY / "prometheus" / "alerts.yaml").read_text(encoding="utf-8")
SELECTED = re.compile(r"\b(passmill_\w+)(?:\{(\w+)(=|=~|!~)\"([^\"]+)\"\})?")
# What a family's samples are called besides its name (https://prometheus.io/docs/concepts/metric_types/).
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


def series() -> dict[str, tuple[str, ...]]:
    """Every series of the service by name, with its labels."""
    registry = CollectorRegistry()
    parts = (
        *(Metrics(registry), CampaignMetrics(registry)),
        *(EdgeMetrics(registry), PushMetrics(registry), BalanceMetrics(registry)),
    )
    counted = [value for part in parts for value in vars(part).values()]
    found = [value for value in counted if isinstance(value, MetricWrapperBase)]
    return {
        family.name + suffix: each._labelnames
        for each in found
        for family in each.describe()
        for suffix in SUFFIXES[family.type]
    }


def test_alerts_name_series_that_exist() -> None:
    """Each series and label that an alert selects by is one of the service's."""
    known = series()
    selected = SELECTED.findall(ALERTS)
    assert len(selected) > 10
    for name, label, _, _ in selected:
        assert name in known, name
        assert not label or label in known[name], f"{name}{{{label}}}"


def test_alerts_name_values_that_exist() -> None:
    """Each reason and number of days that an alert selects is one that the service gives, and each
    number of days has an alert."""
    chosen: dict[str, set[str]] = {}
    for _, label, _, values in SELECTED.findall(ALERTS):
        chosen.setdefault(label, set()).update(values.split("|"))
    assert chosen["reason"] <= {each.value for each in (*Reason, *RefusalReason)}
    assert chosen["within_days"] == {str(days) for days in EXPIRY_DAYS}
    pushed = {state.name.lower() for state in PushState}
    assert chosen["outcome"] - pushed == {"failed", "mismatch"}


def test_the_runbook_answers_every_alert() -> None:
    """Each alert has its action in the runbook, and the runbook names no other."""
    runbook = (DEPLOY / "RUNBOOK.md").read_text(encoding="utf-8")
    alerts = re.findall(r"- alert: (\w+)", ALERTS)
    assert len(alerts) == len(set(alerts)) > 10
    assert sorted(re.findall(r"\*\*(Passmill\w+)\*\*", runbook)) == sorted(alerts)
