//! Record batches as Kafka clients send and read them.

use bytes::Bytes;
use tradelane_hub::RecordsPage;
use tradelane_records::{Batch, BatchBuilder, BatchHead, Decompressor, Limits};

pub struct Sent<'a> {
    pub key: Option<&'a str>,
    pub value: Option<&'a str>,
    pub headers: Vec<(&'a [u8], Option<&'a [u8]>)>,
}

pub fn value(value: &str) -> Sent<'_> {
    Sent { key: None, value: Some(value), headers: Vec::new() }
}

pub fn batch(records: &[Sent<'_>], head: BatchHead) -> Bytes {
    let mut bytes = Vec::new();
    let mut builder = BatchBuilder::new(&mut bytes, &head);
    for (delta, record) in (0..).zip(records) {
        let (key, value) = (record.key.map(str::as_bytes), record.value.map(str::as_bytes));
        builder.push(delta, 1_800_000_000_000 + i64::from(delta), key, value, &*record.headers).unwrap();
    }
    let last = i32::try_from(records.len()).unwrap() - 1;
    builder.finish(last).unwrap();
    bytes.into()
}

/// A record as a consumer gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct Got {
    pub offset: i64,
    pub time: i64,
    pub key: Option<String>,
    pub value: Option<String>,
    pub headers: Vec<(String, Option<String>)>,
}

pub fn got(page: &RecordsPage) -> Vec<Got> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut all = Vec::new();
    for bytes in &page.batches {
        let (batch, rest) = Batch::parse(bytes, &Limits::default()).unwrap();
        assert!(rest.is_empty());
        if batch.is_control() {
            continue;
        }
        for record in batch.records(&mut Decompressor::new(), &Limits::default()).unwrap() {
            let record = record.unwrap();
            all.push(Got {
                offset: batch.base_offset() + i64::from(record.offset_delta),
                time: record.timestamp,
                key: record.key.map(text),
                value: record.value.map(text),
                headers: record.headers.map(|(name, value)| (text(name), value.map(text))).collect(),
            });
        }
    }
    all
}
