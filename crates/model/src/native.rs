//! Schemas in the language of an encoding that is not JSON, as a contract carries them.
//!
//! They stand in the contract's custom property `tradelane`, beside `format`: `avroSchema`, or `protobufSchema` with
//! `protobufMessage`. This takes them out of the document and holds them to their form; whether they are valid in their
//! language is asked when the contract is compiled.

use std::sync::Arc;

use serde_json::Value;

use crate::contract::{ContractError, Extension, wrong};
use crate::product::Format;

/// The longest schema in an encoding's own language, in bytes.
pub const MAX_NATIVE: usize = 256 << 10;

/// The schema of events that are not JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NativeSchema {
    /// Of `format: avro`.
    Avro {
        /// The schema as JSON text. It refers to nothing but what the contract's references name.
        text: Arc<str>,
    },
    /// Of `format: protobuf`.
    Protobuf {
        /// The text of a `.proto` file, which imports what the contract's references name and Google's well-known types.
        text: Arc<str>,
        /// The full name of the message that an event is, without a leading dot.
        message: Arc<str>,
    },
}

impl NativeSchema {
    /// What the contract's extension carries; it must be there where the format needs it, and nowhere else.
    pub(crate) fn read(extension: &Extension) -> Result<Option<Self>, ContractError> {
        let place = |name: &str| format!("/customProperties/tradelane/{name}");
        let avro = extension.format == Format::Avro;
        let protobuf = extension.format == Format::Protobuf;
        let stray = [
            ("avroSchema", extension.avro_schema.is_some() && !avro),
            ("protobufSchema", extension.protobuf_schema.is_some() && !protobuf),
            ("protobufMessage", extension.protobuf_message.is_some() && !protobuf),
        ];
        if let Some((name, _)) = stray.iter().find(|(_, is_stray)| *is_stray) {
            return Err(wrong(place(name), "goes with another `format`"));
        }
        let needs = |name: &str, what: &str| wrong(place(name), format!("is required: {what}"));
        match extension.format {
            Format::Json | Format::Epcis => Ok(None),
            Format::Avro => {
                let schema = extension.avro_schema.as_ref();
                let schema = schema.ok_or_else(|| needs("avroSchema", "the Avro schema of an event"))?;
                let text = match schema {
                    Value::String(text) => capped(text, &place("avroSchema"))?,
                    schema => capped(&schema.to_string(), &place("avroSchema"))?,
                };
                serde_json::from_str::<serde::de::IgnoredAny>(&text)
                    .map_err(|error| wrong(place("avroSchema"), format!("is not JSON: {error}")))?;
                Ok(Some(Self::Avro { text }))
            }
            Format::Protobuf => {
                let text = extension.protobuf_schema.as_deref();
                let text = text.ok_or_else(|| needs("protobufSchema", "the text of a .proto file"))?;
                let message = extension.protobuf_message.as_deref();
                let message = message.ok_or_else(|| needs("protobufMessage", "the name of a message in it"))?;
                let is_name = |part: &str| {
                    part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                        && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                };
                if message.len() > 255 || !message.split('.').all(is_name) {
                    let reason = "is the full name of a message, as in `acme.logistics.Order`";
                    return Err(wrong(place("protobufMessage"), reason));
                }
                let text = capped(text, &place("protobufSchema"))?;
                Ok(Some(Self::Protobuf { text, message: message.into() }))
            }
        }
    }

    /// The text of the schema.
    pub fn text(&self) -> &str {
        match self {
            Self::Avro { text } | Self::Protobuf { text, .. } => text,
        }
    }
}

fn capped(text: &str, place: &str) -> Result<Arc<str>, ContractError> {
    if text.len() > MAX_NATIVE {
        return Err(wrong(place, format!("has more than {} KiB", MAX_NATIVE >> 10)));
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Contract;

    fn contract(extension: &str) -> Result<Contract, ContractError> {
        Contract::parse(&format!(
            "apiVersion: v3.1.0\nkind: DataContract\nid: acme-orders\nversion: 1.0.0\nstatus: active\nschema:\n  - name: order\n    \
             properties:\n      - {{name: id, logicalType: string, classification: public}}\n\
             customProperties:\n  - property: tradelane\n    value: {extension}\n"
        ))
    }

    #[test]
    fn an_avro_schema_is_text_or_the_schema_itself() {
        let text = contract(r#"{format: avro, avroSchema: '{"type": "string"}'}"#).unwrap();
        assert_eq!(text.native, Some(NativeSchema::Avro { text: r#"{"type": "string"}"#.into() }));
        let inline = contract("{format: avro, avroSchema: {type: record, name: R, fields: []}}").unwrap();
        assert_eq!(inline.native.unwrap().text(), r#"{"type":"record","name":"R","fields":[]}"#);
    }

    #[test]
    fn a_protobuf_schema_names_its_message() {
        let native =
            contract("{format: protobuf, protobufSchema: 'message A {}', protobufMessage: a.A}").unwrap().native;
        assert_eq!(native, Some(NativeSchema::Protobuf { text: "message A {}".into(), message: "a.A".into() }));
    }

    #[test]
    fn a_schema_that_is_missing_stray_or_malformed_is_refused_with_its_place() {
        let cases = [
            ("{format: avro}", "avroSchema: is required"),
            ("{format: avro, avroSchema: '{'}", "avroSchema: is not JSON"),
            ("{avroSchema: '{}'}", "avroSchema: goes with another"),
            ("{format: avro, avroSchema: '{}', protobufMessage: A}", "protobufMessage: goes with another"),
            ("{format: protobuf, protobufMessage: A}", "protobufSchema: is required"),
            ("{format: protobuf, protobufSchema: ''}", "protobufMessage: is required"),
            ("{format: protobuf, protobufSchema: '', protobufMessage: .A}", "is the full name"),
        ];
        for (extension, expected) in cases {
            let error = contract(extension).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} should say {expected}");
        }
    }
}
