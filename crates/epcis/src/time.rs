//! Date-times of EPCIS: RFC 3339 with a zone, as `xsd:dateTimeStamp` asks. Knows nothing of fields or events.

use tradelane_model::Timestamp;

/// A point in time, with the nanoseconds that the text gave (more digits are cut off).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DateTime {
    /// Seconds since the epoch, UTC.
    pub seconds: i64,
    /// Nanoseconds of that second.
    pub nanos: u32,
}

/// Two digits at `at`, as a number.
fn two(text: &[u8], at: usize) -> Option<u32> {
    let (tens, ones) = (text.get(at)?, text.get(at + 1)?);
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
}

/// Days since the epoch of a date of the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let shifted = i64::from((month + 9) % 12);
    let day_of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

impl DateTime {
    /// Reads `YYYY-MM-DDThh:mm:ss[.fraction](Z|±hh:mm)`; `None` for anything else, a date that does not exist, a leap
    /// second (XML Schema has none) or an offset beyond fourteen hours.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() < 20 || text.len() > 64 {
            return None;
        }
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if separators.iter().any(|(at, byte)| text.get(*at) != Some(byte)) {
            return None;
        }
        let year = two(text, 0)? * 100 + two(text, 2)?;
        let (month, day) = (two(text, 5)?, two(text, 8)?);
        let (hour, minute, second) = (two(text, 11)?, two(text, 14)?, two(text, 17)?);
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let (nanos, zone) = fraction(text.get(19..)?)?;
        let local =
            days_from_civil(i64::from(year), month, day) * 86_400 + i64::from(hour * 3600 + minute * 60 + second);
        Some(Self { seconds: local - zone_seconds(zone)?, nanos })
    }

    /// Microseconds since the epoch.
    pub fn timestamp(self) -> Timestamp {
        Timestamp(self.seconds.saturating_mul(1_000_000).saturating_add(i64::from(self.nanos / 1000)))
    }

    /// `YYYY-MM-DDThh:mm:ss.mmmZ`; the fourth decimal rounds the third, up from 5.
    pub fn to_millis(self) -> String {
        let mut millis = i64::from((self.nanos + 500_000) / 1_000_000);
        let mut seconds = self.seconds;
        if millis == 1000 {
            millis = 0;
            seconds += 1;
        }
        let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
        let of_day = seconds.rem_euclid(86_400);
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z",
            of_day / 3600,
            of_day / 60 % 60,
            of_day % 60
        )
    }
}

impl From<Timestamp> for DateTime {
    fn from(time: Timestamp) -> Self {
        let micros = time.0;
        let nanos = u32::try_from(micros.rem_euclid(1_000_000)).unwrap_or(0) * 1000;
        Self { seconds: micros.div_euclid(1_000_000), nanos }
    }
}

/// The nanoseconds of an optional fraction, and what follows it.
fn fraction(rest: &[u8]) -> Option<(u32, &[u8])> {
    let Some((b'.', digits)) = rest.split_first() else { return Some((0, rest)) };
    let end = digits.iter().position(|b| !b.is_ascii_digit())?;
    if end == 0 {
        return None;
    }
    let (digits, zone) = digits.split_at(end);
    let mut nanos = 0u32;
    for at in 0..9 {
        nanos = nanos * 10 + digits.get(at).map_or(0, |digit| u32::from(digit - b'0'));
    }
    Some((nanos, zone))
}

fn zone_seconds(zone: &[u8]) -> Option<i64> {
    if zone == b"Z" {
        return Some(0);
    }
    let sign = match zone.first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = (two(zone, 1)?, two(zone, 4)?);
    let shaped = zone.len() == 6 && zone.get(3) == Some(&b':');
    let inside = minutes <= 59 && (hours < 14 || (hours == 14 && minutes == 0));
    (shaped && inside).then(|| sign * i64::from(hours * 3600 + minutes * 60))
}

/// Whether a text is an `eventTimeZoneOffset`: `±hh:mm`, at most fourteen hours.
pub fn is_offset(text: &str) -> bool {
    text.len() == 6 && zone_seconds(text.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(text: &str) -> Option<String> {
        DateTime::parse(text).map(DateTime::to_millis)
    }

    #[test]
    fn a_time_is_told_in_utc_with_milliseconds() {
        assert_eq!(millis("2020-03-04T11:00:30+01:00").as_deref(), Some("2020-03-04T10:00:30.000Z"));
        assert_eq!(millis("2005-04-03T20:33:31.116000-06:00").as_deref(), Some("2005-04-04T02:33:31.116Z"));
    }

    #[test]
    fn the_fourth_decimal_rounds_the_third_and_carries() {
        assert_eq!(millis("2023-02-02T11:04:03.1415Z").as_deref(), Some("2023-02-02T11:04:03.142Z"));
        assert_eq!(millis("2023-02-02T11:04:03.1414999Z").as_deref(), Some("2023-02-02T11:04:03.141Z"));
        assert_eq!(millis("2023-12-31T23:59:59.9995Z").as_deref(), Some("2024-01-01T00:00:00.000Z"));
    }

    #[test]
    fn times_without_zone_or_outside_the_calendar_are_refused() {
        for bad in [
            "2020-03-04T11:00:30",
            "2020-02-30T11:00:30Z",
            "2021-02-29T00:00:00Z",
            "2020-03-04 11:00:30Z",
            "2020-03-04T24:00:00Z",
            "2020-03-04T11:00:60Z",
            "2020-03-04T11:00:30.Z",
            "2020-03-04T11:00:30+14:01",
            "2020-03-04T11:00:30+0100",
            "2020-03-04T11:00:30.5",
            "",
        ] {
            assert_eq!(DateTime::parse(bad), None, "{bad}");
        }
        assert!(DateTime::parse("2020-02-29T23:59:59.123456789012Z").is_some());
    }

    #[test]
    fn an_offset_is_hours_and_minutes_up_to_fourteen() {
        assert!(is_offset("+14:00") && is_offset("-00:30") && is_offset("+13:59"));
        assert!(!is_offset("Z") && !is_offset("+14:30") && !is_offset("01:00") && !is_offset("+1:00"));
    }

    #[test]
    fn a_timestamp_survives_the_way_there_and_back() {
        for text in ["1969-12-31T23:59:59.999Z", "2026-11-21T12:00:00.001Z"] {
            let time = DateTime::parse(text).expect("valid");
            assert_eq!(DateTime::from(time.timestamp()).to_millis(), text);
        }
    }
}
