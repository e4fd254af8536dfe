//! How values are written into holes: byte for byte as the reference renderer writes them.

use super::value::{Decimal, Value};

/// How a hole is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Formatted, JSON-escaped.
    Text,
    /// Formatted, percent-encoded.
    UrlComponent,
    /// Formatted, HTML-escaped, JSON-escaped.
    Html,
    /// An instant in RFC 3339.
    Date,
    /// Money's ISO 4217 code.
    Currency,
    /// A number as a JSON value; money in major units.
    Number,
    /// A boolean as a JSON value.
    Boolean,
    /// `{"amount":"12.50","currencyCode":"EUR"}`.
    MoneyObject,
}

/// Writes a value in a form. What does not fit the form, which no document has, is formatted.
pub(super) fn write(out: &mut Vec<u8>, form: Form, value: &Value<'_>) {
    match (form, value) {
        (Form::UrlComponent, _) => format(value, |text| percent_encode(out, text)),
        (Form::Html, _) => format(value, |text| escape_html(out, text)),
        (Form::Date, Value::Instant(instant)) => out.extend_from_slice(instant),
        (Form::Currency, Value::Money(_, currency)) => out.extend_from_slice(&currency.code),
        (Form::Number, Value::Decimal(number) | Value::Money(number, _)) => {
            format_decimal(number.trimmed(), |text| out.extend_from_slice(text));
        }
        (Form::MoneyObject, Value::Money(amount, currency)) => {
            out.extend_from_slice(br#"{"amount":""#);
            format_decimal(*amount, |text| out.extend_from_slice(text));
            out.extend_from_slice(br#"","currencyCode":""#);
            out.extend_from_slice(&currency.code);
            out.extend_from_slice(br#""}"#);
        }
        _ => format(value, |text| escape_json(out, text)),
    }
}

/// Gives a value's text, as it stands in the middle of a sentence, in one or several pieces.
fn format(value: &Value<'_>, mut put: impl FnMut(&[u8])) {
    match value {
        Value::Text(text) => put(text.as_bytes()),
        Value::Integer(number) => put(itoa::Buffer::new().format(*number).as_bytes()),
        Value::Decimal(number) => format_decimal(*number, put),
        Value::Money(amount, currency) => {
            format_decimal(*amount, &mut put);
            put(b" ");
            put(&currency.code);
        }
        Value::Instant(instant) => {
            // 2027-03-01T18:30:00+01:00 as 2027-03-01 18:30
            let (date, time) = instant.split_at(10);
            put(date);
            put(b" ");
            put(time.get(1..6).unwrap_or_default());
        }
        Value::Boolean(is_true) => put(if *is_true { b"true" } else { b"false" }),
    }
}

fn format_decimal(number: Decimal, mut put: impl FnMut(&[u8])) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(number.digits).as_bytes();
    if number.is_negative {
        put(b"-");
    }
    if let Some((whole, fraction)) =
        digits.len().checked_sub(number.places).and_then(|at| digits.split_at_checked(at))
        && !whole.is_empty()
    {
        put(whole);
        if !fraction.is_empty() {
            put(b".");
            put(fraction);
        }
        return;
    }
    put(b"0.");
    (digits.len()..number.places).for_each(|_| put(b"0"));
    put(digits);
}

/// The text between the quotes of a JSON string, as Python's `json` writes it without
/// `ensure_ascii`. [RFC 8259, section 7]
pub(super) fn escape_json(out: &mut Vec<u8>, text: &[u8]) {
    escape(out, text, |byte| match byte {
        b'"' => br#"\""#,
        b'\\' => br"\\",
        b'\n' => br"\n",
        b'\r' => br"\r",
        b'\t' => br"\t",
        0x08 => br"\b",
        0x0c => br"\f",
        _ => b"",
    });
}

/// The same of a text whose markup is made harmless, as Python's `html.escape` does.
fn escape_html(out: &mut Vec<u8>, text: &[u8]) {
    escape(out, text, |byte| match byte {
        b'&' => b"&amp;",
        b'<' => b"&lt;",
        b'>' => b"&gt;",
        b'"' => b"&quot;",
        b'\'' => b"&#x27;",
        b'\\' => br"\\",
        b'\n' => br"\n",
        b'\r' => br"\r",
        b'\t' => br"\t",
        0x08 => br"\b",
        0x0c => br"\f",
        _ => b"",
    });
}

/// Copies runs of bytes that stand for themselves, and writes the others as `of` says; empty: it
/// has no short escape.
fn escape(out: &mut Vec<u8>, mut text: &[u8], of: impl Fn(u8) -> &'static [u8]) {
    let stands = |byte: &u8| *byte >= 0x20 && of(*byte).is_empty();
    while let Some(at) = text.iter().position(|byte| !stands(byte)) {
        let (plain, rest) = text.split_at_checked(at).unwrap_or((text, &[]));
        out.extend_from_slice(plain);
        let Some((byte, rest)) = rest.split_first() else { return };
        match of(*byte) {
            [] => {
                out.extend_from_slice(br"\u00");
                out.extend([hex(byte >> 4, b'a'), hex(byte & 15, b'a')]);
            }
            escaped => out.extend_from_slice(escaped),
        }
        text = rest;
    }
    out.extend_from_slice(text);
}

/// One component of an address: only unreserved characters stand. [RFC 3986, section 2.3]
fn percent_encode(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        if byte.is_ascii_alphanumeric() || b"_.~-".contains(byte) {
            out.push(*byte);
        } else {
            out.extend([b'%', hex(byte >> 4, b'A'), hex(byte & 15, b'A')]);
        }
    }
}

const fn hex(nibble: u8, ten: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { ten + (nibble - 10) }
}

/// Whether ISO 8859-1 can hold the text: in UTF-8, its characters begin with C3 at the highest.
pub(super) fn fits_latin1(text: &str) -> bool {
    text.bytes().all(|byte| byte < 0xc4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::value::Currency;

    fn written(form: Form, value: &Value<'_>) -> String {
        let mut out = Vec::new();
        write(&mut out, form, value);
        String::from_utf8(out).unwrap()
    }

    fn text(form: Form, text: &str) -> String {
        written(form, &Value::Text(text.into()))
    }

    fn decimal(form: Form, text: &str) -> String {
        written(form, &Value::Decimal(Decimal::parse(text).unwrap()))
    }

    fn money(amount: i64, code: [u8; 3], decimals: u8) -> Value<'static> {
        let (is_negative, digits) = (amount < 0, amount.unsigned_abs().into());
        let places = decimals.into();
        Value::Money(Decimal { is_negative, digits, places }, Currency { code, decimals })
    }

    /// Golden: JSON escapes are Python's; what JSON need not escape stands.
    #[test]
    fn json_is_escaped_as_python_does() {
        assert_eq!(text(Form::Text, "a\"b\\c/\n\r\t\u{8}\u{c}"), r#"a\"b\\c/\n\r\t\b\f"#);
        assert_eq!(
            text(Form::Text, "\0\u{1}\u{1f}\u{7f}\u{2028}é☕😀<&'"),
            "\\u0000\\u0001\\u001f\u{7f}\u{2028}é☕😀<&'"
        );
        assert_eq!(text(Form::Text, ""), "");
    }

    /// Whatever the text, a JSON reader gets it back.
    #[test]
    fn json_is_read_back() {
        let all: String = (0..0x250).filter_map(char::from_u32).collect();
        let quoted = format!("\"{}\"", text(Form::Text, &all));
        assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), all);
    }

    /// Golden: markup becomes entities before JSON's escapes.
    #[test]
    fn html_is_escaped_as_python_does() {
        let escaped = r"&lt;a href=&quot;x&quot;&gt;&amp;&#x27;\\\n\r\t\b\f\u0001é";
        assert_eq!(text(Form::Html, "<a href=\"x\">&'\\\n\r\t\u{8}\u{c}\u{1}é"), escaped);
    }

    /// Golden: all but the unreserved characters are percent-encoded, in UTF-8 and upper case.
    #[test]
    fn addresses_are_percent_encoded() {
        assert_eq!(text(Form::UrlComponent, "aZ09_.~-/? é\n"), "aZ09_.~-%2F%3F%20%C3%A9%0A");
        assert_eq!(written(Form::UrlComponent, &money(1250, *b"EUR", 2)), "12.50%20EUR");
    }

    /// Golden: decimals in text keep their digits, as numbers they lose needless zeros.
    #[test]
    fn decimals_are_written_out() {
        for (stored, in_text, number) in [
            ("12.50", "12.50", "12.5"),
            ("-12.00", "-12.00", "-12"),
            ("0", "0", "0"),
            ("-0", "-0", "0"),
            ("-0.00", "-0.00", "0"),
            ("0E-9", "0.000000000", "0"),
            ("1E+2", "100", "100"),
            ("1.5E-3", "0.0015", "0.0015"),
            ("-0.05", "-0.05", "-0.05"),
            ("1000", "1000", "1000"),
        ] {
            assert_eq!(decimal(Form::Text, stored), in_text);
            assert_eq!(decimal(Form::Number, stored), number);
        }
    }

    /// Golden: money in each of its forms, with two, three and no decimals, and below one.
    #[test]
    fn money_is_written_in_major_units() {
        for (value, in_text, number, amount) in [
            (money(1250, *b"EUR", 2), "12.50 EUR", "12.5", "12.50"),
            (money(-5, *b"EUR", 2), "-0.05 EUR", "-0.05", "-0.05"),
            (money(0, *b"EUR", 2), "0.00 EUR", "0", "0.00"),
            (money(1250, *b"JPY", 0), "1250 JPY", "1250", "1250"),
            (money(1250, *b"KWD", 3), "1.250 KWD", "1.25", "1.250"),
            (
                money(i64::MIN, *b"JPY", 0),
                "-9223372036854775808 JPY",
                "-9223372036854775808",
                "-9223372036854775808",
            ),
        ] {
            let code = &in_text[in_text.len() - 3..];
            assert_eq!(written(Form::Text, &value), in_text);
            assert_eq!(written(Form::Html, &value), in_text);
            assert_eq!(written(Form::Number, &value), number);
            assert_eq!(written(Form::Currency, &value), code);
            let object = format!(r#"{{"amount":"{amount}","currencyCode":"{code}"}}"#);
            assert_eq!(written(Form::MoneyObject, &value), object);
        }
    }

    /// Golden: the other kinds within text and alone.
    #[test]
    fn the_other_kinds_are_written() {
        let instant = Value::Instant(*b"2027-03-01T18:30:00+01:00");
        assert_eq!(written(Form::Date, &instant), "2027-03-01T18:30:00+01:00");
        assert_eq!(written(Form::Text, &instant), "2027-03-01 18:30");
        assert_eq!(written(Form::UrlComponent, &instant), "2027-03-01%2018%3A30");
        assert_eq!(written(Form::Number, &Value::Integer(i64::MIN)), "-9223372036854775808");
        assert_eq!(written(Form::Text, &Value::Integer(7)), "7");
        assert_eq!(written(Form::Boolean, &Value::Boolean(true)), "true");
        assert_eq!(written(Form::Text, &Value::Boolean(false)), "false");
    }

    /// ISO 8859-1 ends at U+00FF.
    #[test]
    fn latin1_ends_at_ff() {
        assert!(fits_latin1("") && fits_latin1("Zürich \u{80}\u{ff}"));
        assert!(!fits_latin1("\u{100}") && !fits_latin1("Łódź") && !fits_latin1("😀"));
    }
}
