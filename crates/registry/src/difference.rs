//! What changed between two schemas, in the words of Confluent's registry, since its clients show them.

/// The most changes that are told.
pub(crate) const MAX_TOLD: usize = 200;
/// The most bytes that are told of a name.
const MAX_WHAT: usize = 200;

/// A change from one schema to the next.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// Its name, such as `TYPE_NARROWED`.
    pub kind: &'static str,
    /// Where, such as `#/properties/price`; in Avro of the reader's schema, in Protobuf of messages and field numbers.
    pub at: String,
    /// Does the new schema still take what the old one took?
    pub is_compatible: bool,
    /// What the change is about: a field, a symbol, types. Nothing where kind and place say it all.
    pub what: String,
}

impl Difference {
    /// The change as an element of the `messages` that clients show. `reads` and `wrote`: how the two schemas are called,
    /// such as `new` and `old`.
    pub fn told(&self, reads: &str, wrote: &str) -> String {
        let about = match self.what.as_str() {
            "" => String::new(),
            what => format!(", additionalInfo:\"{}\"", shortened(what)),
        };
        let description = self.description(reads, wrote);
        format!("{{errorType:\"{}\", description:\"{description}\"{about}}}", self.kind)
    }

    fn description(&self, reads: &str, wrote: &str) -> String {
        let at = shortened(&self.at);
        let what = shortened(&self.what);
        match self.kind {
            "READER_FIELD_MISSING_DEFAULT_VALUE" => format!(
                "The field '{what}' at path '{at}' in the {reads} schema has no default value and is missing in the {wrote} schema"
            ),
            "NAME_MISMATCH" => format!("The name of the {reads} schema at path '{at}' is not that of the {wrote} one"),
            "FIXED_SIZE_MISMATCH" => format!("The {reads} schema has another size than the {wrote} one at path '{at}'"),
            "MISSING_ENUM_SYMBOLS" => {
                format!("The {reads} schema lacks symbols '{what}' of the {wrote} schema's enum at path '{at}'")
            }
            "MISSING_UNION_BRANCH" => {
                format!("The {reads} schema's union at path '{at}' lacks a type that the {wrote} schema has")
            }
            "TYPE_MISMATCH" => {
                format!("The type at path '{at}' in the {reads} schema cannot be read from that in the {wrote} schema")
            }
            _ => format!("The {reads} schema does not take all that the {wrote} one takes at path '{at}'"),
        }
    }
}

/// Quotes and what breaks lines would end the message early.
fn shortened(text: &str) -> String {
    let plain = text.chars().map(|char| if char.is_control() || char == '"' { '\'' } else { char });
    let mut kept = String::new();
    for char in plain {
        if kept.len() + char.len_utf8() > MAX_WHAT {
            kept.push('…');
            break;
        }
        kept.push(char);
    }
    kept
}
