//! The frame in which events leave as lines of JSON.

use tradelane_model::Timestamp;
use tradelane_seal::{ClassSet, Withheld};

use super::rendered::{LINE_END, RenderedEvent};
use super::rendering::{Frame, Output, Place, Source};
use crate::error::Result;

/// Events as lines of JSON.
pub(super) struct LinesFrame;

pub(super) struct Lines<'o> {
    bytes: &'o mut Vec<u8>,
    events: Vec<RenderedEvent>,
    has_times: bool,
    time: Timestamp,
    /// What stands between an offset and an event.
    middle: String,
}

impl Frame for LinesFrame {
    const HAS_ENVELOPE: bool = false;
    type Output<'o> = Lines<'o>;
    type Index = Vec<RenderedEvent>;

    fn begin<'o>(bytes: &'o mut Vec<u8>, source: &Source) -> Lines<'o> {
        let events = Vec::with_capacity(source.records);
        Lines { bytes, events, has_times: source.has_times, time: source.time, middle: middle(source.time) }
    }

    fn end(output: Lines<'_>, _: &Source) -> Result<Self::Index> {
        Ok(output.events)
    }
}

impl Output for Lines<'_> {
    fn event(
        &mut self,
        place: Place<'_>,
        render: impl FnOnce(&mut Vec<u8>) -> std::result::Result<ClassSet, Withheld>,
    ) -> Result<std::result::Result<ClassSet, Withheld>> {
        let time = Timestamp(place.record.time.saturating_mul(1_000));
        if self.has_times && time != self.time {
            (self.time, self.middle) = (time, middle(time));
        }
        let line_start = self.bytes.len();
        self.bytes.extend_from_slice(b"{\"offset\":");
        write_number(self.bytes, place.offset);
        self.bytes.extend_from_slice(self.middle.as_bytes());
        let event_start = self.bytes.len();
        let classes = match render(self.bytes) {
            Ok(classes) => classes,
            Err(reason) => {
                self.bytes.truncate(line_start);
                return Ok(Err(reason));
            }
        };
        let event_end = self.bytes.len();
        one_line(self.bytes, event_start);
        self.bytes.extend_from_slice(LINE_END);
        let (offset, time) = (place.offset, self.time);
        self.events.push(RenderedEvent { offset, time, line_start, event_start, event_end });
        Ok(Ok(classes))
    }

    fn tombstone(&mut self, _: Place<'_>) -> Result<()> {
        Ok(())
    }
}

/// A line feed between tokens means nothing in JSON, and none can be in a string: as a blank it keeps an event on its
/// line without changing its length. (The owner of an event that was published over several lines gets those blanks.)
fn one_line(lines: &mut [u8], from: usize) {
    let mut rest = lines.get_mut(from..).unwrap_or_default();
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        let (_, after) = rest.split_at_mut(at);
        if let Some(byte) = after.first_mut() {
            *byte = b' ';
        }
        rest = after.get_mut(1..).unwrap_or_default();
    }
}

fn middle(time: Timestamp) -> String {
    format!(",\"time\":\"{time}\",\"event\":")
}

/// The same as `write!`, at a quarter of its cost: there is one number in each line.
fn write_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_anybody_writes_them() {
        for number in [0, 1, 9, 10, 99, 100, 12_345, 1 << 53, u64::MAX] {
            let mut out = b"at ".to_vec();
            write_number(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), format!("at {number}"));
        }
    }
}
