//! The load generator's side of HTTP/1.1: as little work as possible per byte, since it shares the machine with the server
//! that is measured. It speaks to servers that this program started, and to no others.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::failure::{Failure, Result};

/// A connection that is used again and again.
pub(super) struct Wire {
    stream: BufReader<TcpStream>,
    authority: String,
    key: Option<String>,
    body: Vec<u8>,
}

/// An answer; its body is read into the connection's own buffer.
pub(super) struct Answer {
    pub(super) status: u16,
    /// `Tradelane-Next`, if it was sent.
    pub(super) next: Option<u64>,
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("the benchmark's connection: {error}"))
}

impl Wire {
    /// To `http://HOST:PORT`.
    pub(super) fn connect(url: &str, key: Option<&str>) -> Result<Self> {
        let authority = url.strip_prefix("http://").ok_or_else(|| broken("not plain HTTP"))?;
        let stream = TcpStream::connect(authority.replace("localhost", "127.0.0.1")).map_err(broken)?;
        stream.set_nodelay(true).map_err(broken)?;
        stream.set_read_timeout(Some(Duration::from_secs(120))).map_err(broken)?;
        let stream = BufReader::with_capacity(256 << 10, stream);
        Ok(Self { stream, authority: authority.to_owned(), key: key.map(str::to_owned), body: Vec::new() })
    }

    /// One request and its whole answer.
    pub(super) fn ask(&mut self, method: &str, path: &str, media: &str, body: &[u8]) -> Result<Answer> {
        let Self { authority, key, .. } = self;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {authority}\r\naccept: */*\r\n");
        if let Some(key) = key {
            head.push_str(&format!("authorization: Bearer {key}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("content-type: {media}\r\ncontent-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).map_err(broken)?;
        self.answer()
    }

    /// The last answer's body.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    fn answer(&mut self) -> Result<Answer> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut answer = Answer { status: status.ok_or_else(|| broken("no status"))?, next: None };
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            match (name.to_ascii_lowercase().as_str(), value.trim()) {
                ("content-length", value) => length = value.parse().map_err(broken)?,
                ("transfer-encoding", value) => chunked = value.eq_ignore_ascii_case("chunked"),
                ("tradelane-next", value) => answer.next = value.parse().ok(),
                _ => {}
            }
        }
        self.body.clear();
        if !chunked {
            self.piece(length)?;
            return Ok(answer);
        }
        loop {
            let size = self.line()?;
            let size = u64::from_str_radix(size.split(';').next().unwrap_or_default(), 16).map_err(broken)?;
            self.piece(size)?;
            self.line()?;
            if size == 0 {
                return Ok(answer);
            }
        }
    }

    fn piece(&mut self, length: u64) -> Result<()> {
        let read = (&mut self.stream).take(length).read_to_end(&mut self.body).map_err(broken)?;
        if read as u64 == length { Ok(()) } else { Err(broken("the answer was cut off")) }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        (&mut self.stream).take(64 << 10).read_line(&mut line).map_err(broken)?;
        if line.is_empty() {
            return Err(broken("it was closed"));
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}
