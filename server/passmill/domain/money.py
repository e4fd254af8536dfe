"""Amounts of money: minor units and an ISO 4217 currency, never a float."""

from __future__ import annotations

from dataclasses import dataclass

# ISO 4217 by number of decimals: the currencies people pay with, no funds, metals or test codes.
_TWO = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF "
    "CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD "
    "HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA "
    "MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN "
    "QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP "
    "TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG BGN ANG"
)
_ZERO = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THREE = "BHD IQD JOD KWD LYD OMR TND"

CURRENCY_DECIMALS: dict[str, int] = {
    **dict.fromkeys(_TWO.split(), 2),
    **dict.fromkeys(_ZERO.split(), 0),
    **dict.fromkeys(_THREE.split(), 3),
}

# Wallets and most JSON readers hold numbers as doubles, which are exact up to 15 digits.
MAX_NUMBER_DIGITS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """`minor_units` of `currency`: 1250 EUR is 12.50 EUR, 1250 JPY is 1250 JPY."""

    minor_units: int
    currency: str

    def major_text(self) -> str:
        """The amount in major units with all the currency's decimals: `12.50`, `-0.05`, `1250`.

        Raises KeyError for an unknown currency; `check_value` refuses those.
        """
        decimals = CURRENCY_DECIMALS[self.currency]
        if decimals == 0:
            return str(self.minor_units)
        digits = str(abs(self.minor_units)).rjust(decimals + 1, "0")
        sign = "-" if self.minor_units < 0 else ""
        return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"
