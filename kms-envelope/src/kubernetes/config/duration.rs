//! Go's duration strings, as `time.ParseDuration` reads them.

/// Nanoseconds in each unit.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Nanoseconds of a duration such as `3s`, `1m30s`, `-1.5h` or `500ms`; `None` where Go reports an
/// error: no unit, an unknown one, or more than 63 bits of nanoseconds.
pub(super) fn parse_go_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (nanoseconds, after) = parse_component(rest)?;
        total = total.checked_add(nanoseconds)?;
        rest = after;
    }
    if negative {
        0i64.checked_sub_unsigned(total)
    } else {
        i64::try_from(total).ok()
    }
}

/// One number with its unit, and what follows it.
fn parse_component(text: &str) -> Option<(u64, &str)> {
    let (whole_digits, rest) = split_digits(text);
    let (fraction_digits, rest) = match rest.strip_prefix('.') {
        Some(rest) => split_digits(rest),
        None => ("", rest),
    };
    if whole_digits.is_empty() && fraction_digits.is_empty() {
        return None;
    }
    let end = rest
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at_checked(end)?;
    let (_, nanoseconds) = UNITS.into_iter().find(|(name, _)| *name == unit)?;

    let mut whole: u64 = 0;
    for digit in whole_digits.bytes().map(digit_value) {
        whole = whole.checked_mul(10)?.checked_add(digit)?;
    }
    let value = whole
        .checked_mul(nanoseconds)?
        .checked_add(fraction_of(fraction_digits, nanoseconds))?;
    Some((value, rest))
}

/// The digits after the point as a part of `unit`, cut to whole nanoseconds. Go computes it in
/// floating point, and so do we, to agree with it in the last place.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the product is not negative and below `unit`, and Go rounds in the same way"
)]
fn fraction_of(digits: &str, unit: u64) -> u64 {
    let mut value: u64 = 0;
    let mut scale = 1.0;
    for digit in digits.bytes().map(digit_value) {
        let next = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(digit));
        // Go stops at 63 bits; what follows is too small to matter.
        let Some(next) = next.filter(|&next| next <= 1 << 63) else {
            break;
        };
        value = next;
        scale *= 10.0;
    }
    (value as f64 * (unit as f64 / scale)) as u64
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn digit_value(byte: u8) -> u64 {
    u64::from(byte.saturating_sub(b'0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What Go's `Duration.String` prints: the shortest exact form.
    fn to_go_string(nanoseconds: i64) -> String {
        let magnitude = nanoseconds.unsigned_abs();
        let sign = if nanoseconds < 0 { "-" } else { "" };
        let fraction = |value: u64, unit: u64| {
            let width = unit.ilog10() as usize;
            let digits = format!("{:0width$}", value % unit);
            let digits = digits.trim_end_matches('0');
            match digits {
                "" => format!("{}", value / unit),
                digits => format!("{}.{digits}", value / unit),
            }
        };
        let text = match magnitude {
            0 => return "0s".to_owned(),
            1..1_000 => format!("{magnitude}ns"),
            1_000..1_000_000 => format!("{}\u{b5}s", fraction(magnitude, 1_000)),
            1_000_000..1_000_000_000 => format!("{}ms", fraction(magnitude, 1_000_000)),
            _ => {
                let minutes = magnitude / 60_000_000_000;
                let seconds = fraction(magnitude % 60_000_000_000, 1_000_000_000);
                match (minutes / 60, minutes % 60) {
                    (0, 0) => format!("{seconds}s"),
                    (0, minutes) => format!("{minutes}m{seconds}s"),
                    (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
                }
            }
        };
        format!("{sign}{text}")
    }

    #[test]
    fn reads_what_go_reads() {
        const SECOND: i64 = 1_000_000_000;
        let table = [
            ("0", 0),
            ("-0", 0),
            ("0s", 0),
            ("3s", 3 * SECOND),
            ("+5s", 5 * SECOND),
            ("-5s", -5 * SECOND),
            ("1m30s", 90 * SECOND),
            ("500ms", SECOND / 2),
            ("5.s", 5 * SECOND),
            (".5s", SECOND / 2),
            ("1.0s", SECOND),
            ("1.004s", 1_004_000_000),
            ("100.00100s", 100_001_000_000),
            ("12\u{b5}s", 12_000),
            ("12\u{3bc}s", 12_000),
            ("12us", 12_000),
            ("1s1m", 61 * SECOND),
            ("39h9m14.425s", 140_954_425_000_000),
            ("52763797000ns", 52_763_797_000),
            ("0.3333333333333333333h", 1_200_000_000_000),
            ("0.100000000000000000000h", 360_000_000_000),
            ("9223372036854775807ns", i64::MAX),
            ("9223372036854775.807us", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("-2562047h47m16.854775808s", i64::MIN),
        ];
        for (text, nanoseconds) in table {
            assert_eq!(parse_go_duration(text), Some(nanoseconds), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        let table = [
            "",
            "3",
            "-",
            "s",
            ".",
            "-.",
            ".s",
            "+.s",
            "1d",
            "1 s",
            " 1s",
            "1s ",
            "1.2.3s",
            "--1s",
            "1S",
            "1:30",
            "3000000h",
            "9223372036854775808ns",
            "9223372036854775.808us",
            "-9223372036854775809ns",
            "9223372036854775808ns9223372036854775808ns",
            "99999999999999999999s",
            "1\u{b5}",
            "１s",
        ];
        for text in table {
            assert_eq!(parse_go_duration(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_duration_comes_back(nanoseconds in any::<i64>(), shift in 0u32..63) {
            let nanoseconds = nanoseconds >> shift;
            prop_assert_eq!(parse_go_duration(&to_go_string(nanoseconds)), Some(nanoseconds));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}|[-+0-9.hmsun\u{b5}]{0,60}") {
            let _ = parse_go_duration(&text);
        }
    }
}
