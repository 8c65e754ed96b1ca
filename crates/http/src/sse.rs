//! Server-sent events (WHATWG HTML, 9.2), the writing side: frames as bytes. Knows nothing of readers or grants.

use bytes::{BufMut, Bytes, BytesMut};

/// One event. A line break inside `data` starts a new `data:` line, which the receiver joins again with `\n`.
pub(crate) fn event(out: &mut BytesMut, name: Option<&str>, id: Option<u64>, data: &[u8]) {
    if let Some(name) = name {
        field(out, b"event", name.as_bytes());
    }
    if let Some(id) = id {
        field(out, b"id", id.to_string().as_bytes());
    }
    let mut rest = data;
    loop {
        let end = rest.iter().position(|b| matches!(b, b'\n' | b'\r'));
        let (line, next) = rest.split_at(end.unwrap_or(rest.len()));
        field(out, b"data", line);
        rest = match next {
            [b'\r', b'\n', after @ ..] | [_, after @ ..] => after,
            [] => break,
        };
    }
    out.put_u8(b'\n');
}

fn field(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 3);
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_u8(b'\n');
}

/// A sign of life: a comment, which receivers ignore.
pub(crate) fn heartbeat() -> Bytes {
    Bytes::from_static(b":\n\n")
}

/// How long a receiver waits before it connects again.
pub(crate) fn retry(milliseconds: u32) -> Bytes {
    Bytes::from(format!("retry: {milliseconds}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: Option<&str>, id: Option<u64>, data: &[u8]) -> String {
        let mut out = BytesMut::new();
        event(&mut out, name, id, data);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn an_event_ends_with_an_empty_line() {
        assert_eq!(written(None, Some(7), b"{}"), "id: 7\ndata: {}\n\n");
        assert_eq!(written(Some("revoked"), None, b""), "event: revoked\ndata: \n\n");
    }

    #[test]
    fn no_line_break_in_the_data_can_end_the_event() {
        assert_eq!(written(None, None, b"a\nb\r\nc\rd"), "data: a\ndata: b\ndata: c\ndata: d\n\n");
        assert_eq!(written(None, None, b"a\n\nevent: x"), "data: a\ndata: \ndata: event: x\n\n");
        assert_eq!(written(None, None, b"a\n"), "data: a\ndata: \n\n");
    }
}
