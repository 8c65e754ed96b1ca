//! Answers before they are HTTP: a status, headers, and a body that is bytes, a row of shared bytes, or a stream.
//!
//! Rows are what makes reading cheap: rendered chunks are shared between readers and go to the socket as they are.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use futures_util::Stream;
use http::header::{CONTENT_TYPE, HeaderName, LOCATION};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Frame, SizeHint};
use serde::Serialize;
use tradelane_model::ErrorCode;

/// A stream of pieces that is still being made while it is sent.
pub(crate) type Pieces = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

enum Payload {
    Empty,
    Whole(Bytes),
    Row(Vec<Bytes>),
    Stream(Pieces),
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The code of the error that this answer tells, for the log.
    pub(crate) code: Option<ErrorCode>,
    payload: Payload,
}

impl Reply {
    /// Without a body.
    pub(crate) fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), code: None, payload: Payload::Empty }
    }

    /// JSON. What cannot be written as JSON is a defect of ours, and told as such.
    pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::of(status, "application/json", body),
            Err(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// Bytes of a media type.
    pub(crate) fn of(status: StatusCode, media: &'static str, body: impl Into<Bytes>) -> Self {
        Self::new(status).header(CONTENT_TYPE, HeaderValue::from_static(media)).with_body(body)
    }

    /// Shared pieces, sent one after the other without being joined.
    pub(crate) fn row(media: &'static str, pieces: Vec<Bytes>) -> Self {
        let mut reply = Self::new(StatusCode::OK).header(CONTENT_TYPE, HeaderValue::from_static(media));
        reply.payload = Payload::Row(pieces);
        reply
    }

    /// Pieces that are made while they are sent.
    pub(crate) fn stream(media: &'static str, pieces: Pieces) -> Self {
        let mut reply = Self::new(StatusCode::OK).header(CONTENT_TYPE, HeaderValue::from_static(media));
        reply.payload = Payload::Stream(pieces);
        reply
    }

    pub(crate) fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.payload = Payload::Whole(body.into());
        self
    }

    pub(crate) fn header(mut self, name: impl Into<HeaderName>, value: HeaderValue) -> Self {
        self.headers.insert(name.into(), value);
        self
    }

    /// A header whose value was made from checked parts; one that cannot stand in a header is left out.
    pub(crate) fn text_header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    pub(crate) fn location(mut self, path: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(path) {
            self.headers.insert(LOCATION, value);
        }
        self
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let body = match self.payload {
            Payload::Empty => Body::empty(),
            Payload::Whole(bytes) => Body::from(bytes),
            Payload::Row(pieces) => {
                Body::new(Row { left: pieces.iter().map(|p| p.len() as u64).sum(), pieces: pieces.into() })
            }
            Payload::Stream(pieces) => Body::from_stream(futures_util::StreamExt::map(pieces, Ok::<_, Infallible>)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }

    /// The whole body, of an answer that has one.
    #[cfg(test)]
    pub(crate) fn into_bytes(self) -> Bytes {
        match self.payload {
            Payload::Whole(bytes) => bytes,
            Payload::Row(pieces) => pieces.concat().into(),
            Payload::Empty | Payload::Stream(_) => Bytes::new(),
        }
    }
}

/// A body of pieces whose length is known.
struct Row {
    pieces: VecDeque<Bytes>,
    left: u64,
}

impl http_body::Body for Row {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        self.left = self.left.saturating_sub(piece.as_ref().map_or(0, |p| p.len() as u64));
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
