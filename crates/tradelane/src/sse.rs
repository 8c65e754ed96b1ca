//! Server-sent events (WHATWG HTML, section 9.2), read from a stream as they come.

use std::io::BufRead;

/// The longest line and the largest event that are accepted.
const MAX_EVENT: usize = 32 << 20;

/// One event.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its name; `message` if the server gave none.
    pub(crate) name: String,
    /// Where to resume after it.
    pub(crate) id: Option<String>,
    /// Its data, lines joined by newlines.
    pub(crate) data: String,
}

/// The events of a stream.
#[derive(Debug)]
pub(crate) struct Events<R> {
    from: R,
    last_id: Option<String>,
}

impl<R: BufRead> Events<R> {
    /// Reads events from this stream.
    pub(crate) fn new(from: R) -> Self {
        Self { from, last_id: None }
    }

    /// Where to resume: the last id that the stream told, with an event or alone.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    fn line(&mut self) -> std::io::Result<Option<String>> {
        let mut line = Vec::new();
        loop {
            let (done, used) = {
                let chunk = self.from.fill_buf()?;
                if chunk.is_empty() {
                    return Ok((!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned()));
                }
                let end = chunk.iter().position(|&b| b == b'\n');
                let take = end.unwrap_or(chunk.len());
                line.extend_from_slice(chunk.get(..take).unwrap_or_default());
                (end.is_some(), take + usize::from(end.is_some()))
            };
            self.from.consume(used);
            if line.len() > MAX_EVENT {
                return Err(std::io::Error::other("an event is larger than 32 MiB"));
            }
            if done {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
        }
    }

    /// The next event; `None` when the stream ended.
    pub(crate) fn next_event(&mut self) -> std::io::Result<Option<Event>> {
        let mut event = Event { name: "message".into(), id: None, data: String::new() };
        let mut any = false;
        while let Some(line) = self.line()? {
            if line.is_empty() {
                if !any {
                    continue;
                }
                event.id = self.last_id.clone();
                return Ok(Some(event));
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => event.name = value.to_owned(),
                "data" => {
                    if any {
                        event.data.push('\n');
                    }
                    event.data.push_str(value);
                    any = true;
                }
                "id" => self.last_id = Some(value.to_owned()),
                // Comments keep the connection alive; `retry` is for browsers.
                _ => {}
            }
            if event.data.len() > MAX_EVENT {
                return Err(std::io::Error::other("an event is larger than 32 MiB"));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_with_names_ids_and_joined_lines() {
        let text = ": hello\n\nid: 7\ndata: {\"a\":1}\n\nevent: end\r\ndata: one\r\ndata: two\r\n\r\ndata: cut";
        let mut events = Events::new(text.as_bytes());
        let first = events.next_event().unwrap().unwrap();
        assert_eq!(
            (first.name.as_str(), first.id.as_deref(), first.data.as_str()),
            ("message", Some("7"), "{\"a\":1}")
        );
        let second = events.next_event().unwrap().unwrap();
        assert_eq!((second.name.as_str(), second.data.as_str()), ("end", "one\ntwo"));
        assert_eq!(events.next_event().unwrap(), None, "an event that was cut off is no event");
    }
}
