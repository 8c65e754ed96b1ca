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
    time_text: String,
}

impl Frame for LinesFrame {
    const HAS_ENVELOPE: bool = false;
    type Output<'o> = Lines<'o>;
    type Index = Vec<RenderedEvent>;

    fn begin<'o>(bytes: &'o mut Vec<u8>, source: &Source) -> Lines<'o> {
        let events = Vec::with_capacity(source.records);
        Lines { bytes, events, has_times: source.has_times, time: source.time, time_text: source.time.to_string() }
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
            (self.time, self.time_text) = (time, time.to_string());
        }
        let line_start = self.bytes.len();
        write_head(self.bytes, place.offset, &self.time_text);
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

/// `{"offset":N,"time":"...","event":`
fn write_head(out: &mut Vec<u8>, offset: u64, time: &str) {
    use std::io::Write as _;
    // Writing to memory does not fail.
    let _ = write!(out, "{{\"offset\":{offset},\"time\":\"{time}\",\"event\":");
}
