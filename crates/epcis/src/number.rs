//! Decimal numbers as text: the one spelling that the event hash wants. Knows nothing of JSON.

/// Significant digits and decimal exponent of a number: `digits * 10^exponent`.
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i32,
}

/// Longest text that is looked at as a number, and the largest exponent; beyond, a text stays as it is.
const LONGEST: usize = 400;
const LARGEST_EXPONENT: i32 = 308;

fn parse(text: &str) -> Option<Decimal> {
    if text.is_empty() || text.len() > LONGEST {
        return None;
    }
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (unsigned.get(..at)?, unsigned.get(at + 1..)?.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    if exponent.abs() > LARGEST_EXPONENT {
        return None;
    }
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit());
    if !all_digits || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let joined = format!("{whole}{fraction}");
    let digits = joined.trim_start_matches('0');
    let trimmed = digits.trim_end_matches('0');
    let cut = i32::try_from(digits.len() - trimmed.len()).ok()?;
    let exponent = exponent - i32::try_from(fraction.len()).ok()? + cut;
    Some(Decimal { negative: negative && !trimmed.is_empty(), digits: trimmed.to_owned(), exponent })
}

/// The canonical spelling of a number, or `None` when the text is no number: no sign `+`, no leading or trailing zeros,
/// no exponent; only magnitudes below 1e-4 are written with one (`1.5e-05`), as the reference implementation does.
/// Digits are never rounded away.
pub fn canonical(text: &str) -> Option<String> {
    let Decimal { negative, digits, exponent } = parse(text)?;
    if digits.is_empty() {
        return Some("0".to_owned());
    }
    let length = i32::try_from(digits.len()).ok()?;
    let point = length + exponent;
    let body = if exponent >= 0 {
        format!("{digits}{}", "0".repeat(usize::try_from(exponent).ok()?))
    } else if point > 0 {
        let (whole, fraction) = digits.split_at(usize::try_from(point).ok()?);
        format!("{whole}.{fraction}")
    } else if point > -4 {
        format!("0.{}{digits}", "0".repeat(usize::try_from(-point).ok()?))
    } else {
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        format!("{first}{dot}{rest}e-{:02}", 1 - point)
    };
    Some(if negative { format!("-{body}") } else { body })
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn numbers_have_one_spelling() {
        for (text, expected) in [
            ("1.0", "1"),
            ("+0042", "42"),
            ("0.3434000", "0.3434"),
            ("26", "26"),
            ("-12.50", "-12.5"),
            ("1e3", "1000"),
            ("1.5E2", "150"),
            ("100", "100"),
            ("0.0", "0"),
            ("-0", "0"),
            (".5", "0.5"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("0.000015", "1.5e-05"),
            ("1e22", "10000000000000000000000"),
            ("12345678901234567891", "12345678901234567891"),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_left_alone() {
        for text in ["", "KGM", "2023-10-09", "1e", "e5", "1.2.3", "inf", "nan", "0x10", "1e999999999", "- 1", ".", "+"]
        {
            assert_eq!(canonical(text), None, "{text}");
        }
    }
}
