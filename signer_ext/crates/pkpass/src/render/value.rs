//! Values of passes: their types, and how each is read from its stored form.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, SeqAccess, Visitor};

/// Most digits of a decimal, and the farthest its point may be moved.
const MAX_DIGITS: usize = 38;

/// What kind of value a source has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Url,
    Integer,
    Decimal,
    Money,
    Instant,
    Boolean,
}

impl Kind {
    /// The kind that templates call by this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "text" => Self::Text,
            "url" => Self::Url,
            "integer" => Self::Integer,
            "decimal" => Self::Decimal,
            "money" => Self::Money,
            "instant" => Self::Instant,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }

    /// The stored form, for messages.
    pub(super) const fn wanted(self) -> &'static str {
        match self {
            Self::Text | Self::Url => "a text",
            Self::Integer => "an integer of 64 bits",
            Self::Decimal => "a text with a decimal",
            Self::Money => "[minor units, currency]",
            Self::Instant => "a text with a date, time and offset",
            Self::Boolean => "true or false",
        }
    }
}

/// A value of a pass. Text points into what it was read from, unless that had escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Text(Cow<'a, str>),
    Integer(i64),
    Decimal(Decimal),
    Money(Decimal, Currency),
    /// RFC 3339 with seconds and a numeric offset.
    Instant([u8; 25]),
    Boolean(bool),
}

impl Value<'_> {
    /// The same, pointing nowhere.
    pub(super) fn into_owned(self) -> Value<'static> {
        match self {
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Integer(number) => Value::Integer(number),
            Self::Decimal(number) => Value::Decimal(number),
            Self::Money(amount, currency) => Value::Money(amount, currency),
            Self::Instant(instant) => Value::Instant(instant),
            Self::Boolean(is_true) => Value::Boolean(is_true),
        }
    }
}

/// `digits` over ten to the power of `places`; zero keeps its sign and places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    pub(super) is_negative: bool,
    pub(super) digits: u128,
    pub(super) places: usize,
}

impl Decimal {
    /// Reads what Python's `str(Decimal)` writes: `12.50`, `-0`, `1E+2`, `0E-9`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (is_negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match unsigned.split_once('E') {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        if whole.is_empty() || whole.len() + fraction.len() > MAX_DIGITS {
            return None;
        }
        let mut digits: u128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            if !digit.is_ascii_digit() {
                return None;
            }
            digits = digits * 10 + u128::from(digit - b'0');
        }
        let places = i64::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        if let Ok(places) = usize::try_from(places) {
            return (places <= MAX_DIGITS).then_some(Self { is_negative, digits, places });
        }
        // Without an exponent: zero stays a lone zero, all else gets zeros.
        if digits != 0 {
            let zeros = u32::try_from(places.unsigned_abs()).ok()?;
            digits = digits.checked_mul(10_u128.checked_pow(zeros)?)?;
        }
        Some(Self { is_negative, digits, places: 0 })
    }

    /// The same number without needless zeros, and zero without a sign.
    pub(super) fn trimmed(mut self) -> Self {
        while self.places > 0 && self.digits.is_multiple_of(10) {
            self.digits /= 10;
            self.places -= 1;
        }
        self.is_negative &= self.digits != 0;
        self
    }
}

/// `+2`, `-9`.
fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-'])?;
    let number: i64 = digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))?;
    Some(if text.starts_with('-') { -number } else { number })
}

/// A currency and in how many decimals its minor unit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Currency {
    pub(super) code: [u8; 3],
    pub(super) decimals: u8,
}

/// The instant, if it is written as Python's `isoformat(timespec="seconds")` writes aware times.
fn parse_instant(text: &str) -> Option<[u8; 25]> {
    const FORM: &[u8; 25] = b"0000-00-00T00:00:00+00:00";
    let bytes: [u8; 25] = text.as_bytes().try_into().ok()?;
    let is_formed = bytes.iter().zip(FORM).all(|(byte, form)| match form {
        b'0' => byte.is_ascii_digit(),
        b'+' => matches!(byte, b'+' | b'-'),
        _ => byte == form,
    });
    is_formed.then_some(bytes)
}

/// Reads a value of a kind; JSON's `null` is none. Its errors may quote the value: they are for
/// nobody's eyes.
#[derive(Clone, Copy)]
pub(super) struct ValueSeed<'s> {
    pub(super) kind: Kind,
    /// Sorted.
    pub(super) currencies: &'s [Currency],
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Option<Value<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Option<Value<'de>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kind.wanted())
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, is_true: bool) -> Result<Self::Value, E> {
        self.require(self.kind == Kind::Boolean, Value::Boolean(is_true))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        self.require(self.kind == Kind::Integer, Value::Integer(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        self.visit_i64(i64::try_from(number).map_err(|_| self.refusal())?)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        let value = match self.kind {
            Kind::Text | Kind::Url => Some(Value::Text(Cow::Borrowed(text))),
            Kind::Decimal => Decimal::parse(text).map(Value::Decimal),
            Kind::Instant => parse_instant(text).map(Value::Instant),
            Kind::Integer | Kind::Money | Kind::Boolean => None,
        };
        value.map(Some).ok_or_else(|| self.refusal())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        // It had escapes, which only text needs.
        let is_text = matches!(self.kind, Kind::Text | Kind::Url);
        self.require(is_text, Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let (amount, code) = (items.next_element::<i64>()?, items.next_element::<&str>()?);
        let is_all = items.next_element::<IgnoredAny>()?.is_none();
        let (Some(amount), Some(code), Kind::Money, true) = (amount, code, self.kind, is_all)
        else {
            return Err(self.refusal());
        };
        let found =
            self.currencies.binary_search_by(|each| each.code.as_slice().cmp(code.as_bytes()));
        let Some(&currency) = found.ok().and_then(|place| self.currencies.get(place)) else {
            return Err(self.refusal());
        };
        let amount = Decimal {
            is_negative: amount < 0,
            digits: amount.unsigned_abs().into(),
            places: currency.decimals.into(),
        };
        Ok(Some(Value::Money(amount, currency)))
    }
}

impl ValueSeed<'_> {
    fn require<E: Error>(self, holds: bool, value: Value<'_>) -> Result<Option<Value<'_>>, E> {
        if holds { Ok(Some(value)) } else { Err(self.refusal()) }
    }

    fn refusal<E: Error>(self) -> E {
        E::custom(self.kind.wanted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a value; `null` has a refusal of its own.
    fn read(kind: Kind, json: &str) -> Result<Value<'_>, Refused> {
        let currencies =
            [Currency { code: *b"EUR", decimals: 2 }, Currency { code: *b"JPY", decimals: 0 }];
        let mut source = serde_json::Deserializer::from_str(json);
        let seed = ValueSeed { kind, currencies: &currencies };
        let value = seed.deserialize(&mut source).map_err(|_| Refused::Bad)?;
        source.end().map_err(|_| Refused::Bad)?;
        value.ok_or(Refused::Null)
    }

    #[derive(Debug, PartialEq, Eq)]
    enum Refused {
        Bad,
        Null,
    }

    const fn decimal(is_negative: bool, digits: u128, places: usize) -> Decimal {
        Decimal { is_negative, digits, places }
    }

    /// Every form in which a decimal is stored is read exactly, and zero keeps sign and places.
    #[test]
    fn decimals_are_exact() {
        assert_eq!(Decimal::parse("12.50"), Some(decimal(false, 1250, 2)));
        assert_eq!(Decimal::parse("-0"), Some(decimal(true, 0, 0)));
        assert_eq!(Decimal::parse("-0.00"), Some(decimal(true, 0, 2)));
        assert_eq!(Decimal::parse("1E+2"), Some(decimal(false, 100, 0)));
        assert_eq!(Decimal::parse("1.5E+3"), Some(decimal(false, 1500, 0)));
        assert_eq!(Decimal::parse("1.5E-3"), Some(decimal(false, 15, 4)));
        assert_eq!(Decimal::parse("0E-9"), Some(decimal(false, 0, 9)));
        assert_eq!(Decimal::parse("0E+999999999"), Some(decimal(false, 0, 0)));
        let longest = "9".repeat(MAX_DIGITS);
        assert_eq!(Decimal::parse(&longest), Some(decimal(false, longest.parse().unwrap(), 0)));
    }

    /// What is no stored decimal, or too long for one, is refused.
    #[test]
    fn other_decimals_are_refused() {
        for text in [
            "",
            "-",
            "+1",
            "--1",
            ".5",
            "5.",
            "1.2.3",
            "1e2",
            "1E2",
            "1E",
            "1E+",
            "1E+-2",
            "1E++2",
            "E+1",
            "NaN",
            "Infinity",
            " 1",
            "1 ",
            "1_0",
            "\u{661}",
            "1E+99",
            "1E+999999999999999999999",
            "1E-39",
            "1E-9223372036854775808",
            "1E-9223372036854775807",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
        assert_eq!(Decimal::parse(&"1".repeat(MAX_DIGITS + 1)), None);
        assert_eq!(Decimal::parse(&("9".repeat(MAX_DIGITS) + "E+1")), None);
    }

    /// Trimming takes zeros behind the point alone, and the sign of zero.
    #[test]
    fn trimming_keeps_the_number() {
        let trimmed = |text| Decimal::parse(text).map(Decimal::trimmed);
        assert_eq!(trimmed("-12.50"), Some(decimal(true, 125, 1)));
        assert_eq!(trimmed("100.00"), Some(decimal(false, 100, 0)));
        assert_eq!(trimmed("-0.00"), Some(decimal(false, 0, 0)));
        assert_eq!(trimmed("0.05"), Some(decimal(false, 5, 2)));
    }

    /// Each kind reads its own stored form and `null`, and no other kind's.
    #[test]
    fn each_kind_reads_its_own_form() {
        let instant = "2027-03-01T18:30:00+01:00";
        let (quoted, time) = (format!("\"{instant}\""), instant.as_bytes().try_into().unwrap());
        let money = Value::Money(
            Decimal { is_negative: true, digits: 5, places: 2 },
            Currency { code: *b"EUR", decimals: 2 },
        );
        let forms = [
            (r#""x\n""#, vec![Kind::Text, Kind::Url], Value::Text("x\n".into())),
            ("-7", vec![Kind::Integer], Value::Integer(-7)),
            ("9223372036854775807", vec![Kind::Integer], Value::Integer(i64::MAX)),
            (r#"[-5,"EUR"]"#, vec![Kind::Money], money),
            ("true", vec![Kind::Boolean], Value::Boolean(true)),
        ];
        let kinds = [
            Kind::Text,
            Kind::Url,
            Kind::Integer,
            Kind::Decimal,
            Kind::Money,
            Kind::Instant,
            Kind::Boolean,
        ];
        for kind in kinds {
            assert_eq!(read(kind, "null"), Err(Refused::Null));
            for (json, readers, value) in &forms {
                let expected =
                    if readers.contains(&kind) { Ok(value.clone()) } else { Err(Refused::Bad) };
                assert_eq!(read(kind, json), expected, "{json} as {kind:?}");
            }
        }
        assert_eq!(read(Kind::Instant, &quoted), Ok(Value::Instant(time)));
        let number = Decimal { is_negative: false, digits: 1250, places: 2 };
        assert_eq!(read(Kind::Decimal, r#""12.50""#), Ok(Value::Decimal(number)));
    }

    /// Near misses of each form are refused.
    #[test]
    fn near_misses_are_refused() {
        for (kind, json) in [
            (Kind::Integer, "9223372036854775808"),
            (Kind::Integer, "-9223372036854775809"),
            (Kind::Integer, "1.0"),
            (Kind::Integer, "1e3"),
            (Kind::Integer, "true"),
            (Kind::Boolean, "1"),
            (Kind::Decimal, "1.5"),
            (Kind::Decimal, r#""\u0031""#),
            (Kind::Text, r#""\ud800""#),
            (Kind::Money, "[]"),
            (Kind::Money, "[5]"),
            (Kind::Money, r#"[5,"EUR",1]"#),
            (Kind::Money, r#"[5,"XXX"]"#),
            (Kind::Money, r#"[5,"eur"]"#),
            (Kind::Money, r#"[5.0,"EUR"]"#),
            (Kind::Money, r#"["EUR",5]"#),
            (Kind::Money, r#"{"EUR":5}"#),
            (Kind::Instant, r#""2027-03-01T18:30:00Z""#),
            (Kind::Instant, r#""2027-03-01 18:30:00+01:00""#),
            (Kind::Instant, r#""2027-03-01T18:30:00.5+01:00""#),
            (Kind::Instant, r#""2027-03-01T18:30:00+01:0\"""#),
        ] {
            assert_eq!(read(kind, json), Err(Refused::Bad), "{json} as {kind:?}");
        }
    }
}
