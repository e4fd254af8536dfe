"""What the turns amount to: numbers for machines, a table for people."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from contenders.bare_rsa import BareRsa
from contenders.worker import Turn

Place: TypeAlias = tuple[str, int]
"""A contender and the bytes of its images."""

SIZES: Final[Mapping[int, str]] = {10_000: "10 KB", 150_000: "150 KB", 1_000_000: "1 MB"}
"""The images of a card, in bytes together."""
CARD: Final = 150_000
"""The card that contenders are compared by."""
_SMALL, _LARGE = min(SIZES), max(SIZES)
_ONE_CORE: Final = {"sign_core", "portable", "assemble"}
NAMES: Final[Mapping[str, str]] = {
    "sign_core": "Passmill sign_batch, 1 core",
    "sign_all": "Passmill sign_batch, all cores",
    "portable": "Passmill sign_batch without IFMA, 1 core",
    "assemble": "Passmill assemble, 1 core",
    "seal_all": "Passmill seal, all cores",
    "python_stored": "Python script, stored, 1 process",
    "python_stored_all": "Python script, stored, all cores",
    "python_deflated": "Python script, deflated, 1 process",
    "passkit_generator": "passkit-generator, 1 process",
    "passkit_generator_all": "passkit-generator, all cores",
    "walletpass": "@walletpass/pass-js, 1 process",
}
_TARGETS: Final = (
    ("rsa_batch_vs_openssl", "RSA batch / openssl speed, 1 core", ">= 3.0"),
    ("rsa_batch_vs_bound", "RSA batch / bound of the multipliers", ""),
    ("sign_batch_vs_rsa_batch", "sign_batch / RSA batch", ">= 0.90"),
    ("size_independence", "sign_batch at 1 MB / at 10 KB", ">= 0.95"),
    ("assemble_150k_us", "assemble, µs", "<= 40"),
    ("seal_vs_passkit_generator", "seal / passkit-generator", ">= 600"),
    ("seal_vs_passkit_generator_by_cpu", "the same by CPU time", ""),
    ("seal_vs_passkit_generator_all", "seal / passkit-generator on all cores", ""),
    ("seal_vs_python_stored", "seal / Python script, stored", ">= 8"),
    ("seal_vs_python_stored_by_cpu", "the same by CPU time", ""),
    ("seal_vs_python_stored_all", "seal / Python script on all cores", ""),
    ("portable_vs_openssl", "sign_batch without IFMA / openssl speed", ">= 0.90"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """Every turn, by round."""

    rsa: list[BareRsa] = field(default_factory=list)
    turns: defaultdict[Place, list[Turn]] = field(default_factory=lambda: defaultdict(list))


def facts(found: Found, *, cores: int) -> dict[str, object]:
    """The ratios, each the median over the rounds, and what they come from."""
    rsa = [each.best for each in found.rsa]
    openssl = [each.openssl for each in found.rsa]
    bounds = [each.bound for each in found.rsa if each.bound]
    sign = _cpu_rates(found, "sign_core")
    seal, seal_cpu = _rates(found, "seal_all"), _cpu_rates(found, "seal_all")
    assemble = [1e6 / rate for rate in _cpu_rates(found, "assemble")]
    return {
        "rsa_batch_vs_openssl": _ratio(rsa, openssl),
        "rsa_batch_vs_bound": _ratio(rsa, bounds),
        "sign_batch_vs_rsa_batch": _ratio(sign, rsa),
        "size_independence": _ratio(
            _cpu_rates(found, "sign_core", _LARGE), _cpu_rates(found, "sign_core", _SMALL)
        ),
        "assemble_150k_us": round(statistics.median(assemble), 1),
        "seal_vs_passkit_generator": _ratio(seal, _rates(found, "passkit_generator")),
        "seal_vs_passkit_generator_all": _ratio(seal, _rates(found, "passkit_generator_all")),
        "seal_vs_python_stored": _ratio(seal, _rates(found, "python_stored")),
        "portable_vs_openssl": _ratio(_cpu_rates(found, "portable"), openssl),
        "seal_vs_passkit_generator_by_cpu": _ratio(
            [rate * cores for rate in seal_cpu], _cpu_rates(found, "passkit_generator")
        ),
        "seal_vs_python_stored_by_cpu": _ratio(
            [rate * cores for rate in seal_cpu], _cpu_rates(found, "python_stored")
        ),
        "seal_vs_python_stored_all": _ratio(seal, _rates(found, "python_stored_all")),
        "seal_vs_walletpass": _ratio(seal, _rates(found, "walletpass")),
        "rsa_portable_vs_openssl": _ratio([each.portable for each in found.rsa], openssl),
        "openssl_per_s": round(statistics.median(openssl)),
        "rsa_batch_per_s": round(statistics.median(rsa)),
        "rsa_bound_per_s": round(statistics.median(bounds)) if bounds else None,
        "rsa_portable_per_s": round(statistics.median(each.portable for each in found.rsa)),
        "contenders": {
            key: {size: _told(found.turns[key, size]) for size in SIZES if found.turns[key, size]}
            for key in dict.fromkeys(key for key, _ in found.turns)
        },
        "cores": cores,
    }


def _rates(found: Found, key: str, size: int = CARD) -> list[float]:
    return [turn.rate for turn in found.turns[key, size]]


def _cpu_rates(found: Found, key: str, size: int = CARD) -> list[float]:
    return [turn.cpu_rate for turn in found.turns[key, size]]


def _ratio(ours: Sequence[float], others: Sequence[float]) -> float | None:
    """The median over the rounds; None when the others did not run."""
    if not others:
        return None
    ratio = statistics.median(one / other for one, other in zip(ours, others, strict=True))
    return float(f"{ratio:.4g}")


def _told(turns: Sequence[Turn]) -> dict[str, float | None]:
    """By the clock, by CPU time, cores kept busy, and the memory of a process at its peak."""
    peaks = [turn.peak_bytes for turn in turns if turn.peak_bytes]
    return {
        "per_s": float(f"{statistics.median(turn.rate for turn in turns):.4g}"),
        "per_cpu_s": float(f"{statistics.median(turn.cpu_rate for turn in turns):.4g}"),
        "busy_cores": round(statistics.median(turn.busy_cores for turn in turns), 2),
        "peak_mb": round(max(peaks) / 1e6) if peaks else None,
    }


def shown_rate(found: Found, place: Place) -> float:
    """What the table and the plot show: by CPU time what keeps to one core, else by the clock."""
    key, size = place
    rates = _cpu_rates(found, key, size) if key in _ONE_CORE else _rates(found, key, size)
    return statistics.median(rates)


def table(found: Found, told: Mapping[str, object]) -> str:
    """The numbers for people."""
    lines = [_row("passes a second", [*SIZES.values(), "peak MB", "busy cores"])]
    for key, name in NAMES.items():
        if not found.turns[key, CARD]:
            continue
        turns = found.turns[key, CARD]
        card = _told(turns)
        rates = [
            _number(shown_rate(found, (key, size))) if found.turns[key, size] else ""
            for size in SIZES
        ]
        lines.append(_row(name, [*rates, _number(card["peak_mb"]), f"{card['busy_cores']:.2f}"]))
    bare = [
        ("openssl speed rsa2048, 1 core", "openssl_per_s"),
        ("RSA batch, 1 core", "rsa_batch_per_s"),
        ("bound of the multipliers, 1 core", "rsa_bound_per_s"),
        ("aws-lc, checked, 1 core", "rsa_portable_per_s"),
    ]
    lines.append("")
    lines += [_row(name, [_number(told[key])]) for name, key in bare]
    lines.append("")
    lines += [
        _row(name, [_number(told[key])]) + (f"   (wanted: {wanted})" if wanted else "")
        for key, name, wanted in _TARGETS
    ]
    return "\n".join(["", *lines, ""])


def _row(name: str, cells: Sequence[str]) -> str:
    return f"{name:<42}" + "".join(f"{cell:>12}" for cell in cells)


def _number(value: object) -> str:
    match value:
        case None:
            return "-"
        case int() | float() if value >= 100:
            return f"{value:,.0f}"
        case float() if value >= 10:
            return f"{value:.1f}"
        case float():
            return f"{value:.2f}"
        case _:
            return str(value)
