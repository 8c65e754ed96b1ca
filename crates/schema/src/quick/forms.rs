//! Formats that most texts have in the plainest way, which is quickly seen; of others a validator decides.

/// A format.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    plain: Plain,
    /// Who decides when a text is not plainly of the format.
    pub(super) validator: u32,
}

#[derive(Debug, Clone, Copy)]
enum Plain {
    Date,
    DateTime,
    Uuid,
    /// None is.
    Unknown,
}

impl Form {
    /// The format of this name; `validator` knows it better.
    pub(super) fn new(name: &str, validator: u32) -> Form {
        let plain = match name {
            "date" => Plain::Date,
            "date-time" => Plain::DateTime,
            "uuid" => Plain::Uuid,
            _ => Plain::Unknown,
        };
        Form { plain, validator }
    }

    /// Whether a text without escapes is of the format; false if that is not seen at once.
    pub(super) fn is_plainly_of(self, text: &[u8]) -> bool {
        match self.plain {
            Plain::Date => is_date(text),
            Plain::DateTime => is_date_time(text),
            Plain::Uuid => is_uuid(text),
            Plain::Unknown => false,
        }
    }
}

/// RFC 3339, `full-date`: days that every such month has.
fn is_date(text: &[u8]) -> bool {
    let &[c, d, y, z, b'-', m, n, b'-', p, q] = text else { return false };
    let (Some(_), Some(_), Some(month), Some(day)) = (two(c, d), two(y, z), two(m, n), two(p, q)) else { return false };
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// RFC 3339, `date-time`: with `T`, without leap seconds.
fn is_date_time(text: &[u8]) -> bool {
    let Some((date, rest)) = text.split_first_chunk::<10>() else { return false };
    let Some((&[b'T', h, i, b':', m, n, b':', s, t], rest)) = rest.split_first_chunk::<9>() else { return false };
    let zone = match rest {
        [b'.', fraction @ ..] => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 { None } else { fraction.get(digits..) }
        }
        _ => Some(rest),
    };
    let is_zone = match zone {
        Some(b"Z") => true,
        Some(&[b'+' | b'-', h, i, b':', m, n]) => is_below(h, i, 24) && is_below(m, n, 60),
        _ => false,
    };
    is_zone && is_below(h, i, 24) && is_below(m, n, 60) && is_below(s, t, 60) && is_date(date)
}

/// RFC 9562: in groups of 8, 4, 4, 4 and 12 hexadecimal digits.
fn is_uuid(text: &[u8]) -> bool {
    let is_right = |(at, byte): (usize, &u8)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.iter().enumerate().all(is_right)
}

fn is_below(tens: u8, ones: u8, bound: u8) -> bool {
    two(tens, ones).is_some_and(|number| number < bound)
}

/// Two decimal digits.
fn two(tens: u8, ones: u8) -> Option<u8> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| tens * 10 + ones)
}
