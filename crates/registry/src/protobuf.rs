//! A Protobuf schema with the files that it imports: compiled, its types resolved.
//!
//! A schema comes as the text of a `.proto` file, or as the base64 of its `FileDescriptorProto`, as some serializers
//! register it. What it imports is handed in by the name of the import; Google's well-known types need no reference.
//! Source: Protocol Buffers' language specifications (proto2, proto3) and `descriptor.proto`.

mod diff;
mod flat;
mod messages;
mod print;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::prost::Message as _;
use prost_reflect::prost_types::{DescriptorProto, FileDescriptorProto};
use prost_reflect::{DescriptorPool, FileDescriptor};
use protox::file::{File, FileResolver, GoogleFileResolver};

use crate::SchemaProblem;
use crate::text::{self, Reference};

pub(crate) use diff::compare;
pub use flat::in_one_file;

/// The name that the schema itself has among its imports. No import can have it.
const OWN: &str = "-";
/// How deep brackets may nest: messages may 31 levels, the values of options more.
const MAX_BRACKETS: usize = 96;
/// How deep messages may nest, as the compiler has it for text.
const MAX_MESSAGES: usize = 31;
/// The most bytes that are told of what the compiler says.
const MAX_TOLD: usize = 300;

/// A schema, compiled with all that it imports.
#[derive(Debug, Clone)]
pub struct ProtobufSchema {
    file: FileDescriptor,
}

impl ProtobufSchema {
    /// Compiles a schema and what it imports, directly or through others.
    ///
    /// # Errors
    /// [`SchemaProblem`] if one of them is not taken by the compiler, or if they are too large or too many.
    pub fn parse(text: &str, references: &[Reference]) -> Result<Self, SchemaProblem> {
        text::bounded(text, references)?;
        let mut sources = BTreeMap::from([(OWN.to_owned(), source(OWN, text)?)]);
        for reference in references {
            sources.insert(reference.name.clone(), source(&reference.name, &reference.text)?);
        }
        let mut compiler = protox::Compiler::with_file_resolver(Sources(sources));
        compiler.open_file(OWN).map_err(not_compiled)?;
        let file = compiler.descriptor_pool().get_file_by_name(OWN).ok_or(SchemaProblem::Dangling)?;
        Ok(Self { file })
    }

    /// Everything that was compiled.
    pub fn pool(&self) -> &DescriptorPool {
        self.file.parent_pool()
    }

    /// The schema's own file.
    pub fn file(&self) -> &FileDescriptor {
        &self.file
    }

    /// The schema's own file as the base64 of a `FileDescriptorProto` of that name, as some deserializers want it.
    pub fn serialized(&self, name: &str) -> String {
        STANDARD.encode(renamed(&self.file.encode_to_vec(), name))
    }
}

/// The text as the compiler understands it, without comments; `normalize`: fields and values by number, imports by name.
pub(crate) fn canonical(text: &str, references: &[Reference], normalize: bool) -> Result<String, SchemaProblem> {
    let printed = print::print(ProtobufSchema::parse(text, references)?.file(), normalize)?;
    // A descriptor may hold what no text can say, in names for one; what is kept must mean what was sent.
    let again = print::print(ProtobufSchema::parse(&printed, references)?.file(), normalize)?;
    if again == printed {
        Ok(printed)
    } else {
        Err(SchemaProblem::NotCompiled("the descriptor cannot be written as a .proto file".to_owned()))
    }
}

/// The files that may be imported.
struct Sources(BTreeMap<String, File>);

impl FileResolver for Sources {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(file) => Ok(file.clone()),
            None => GoogleFileResolver::new().open_file(name),
        }
    }
}

fn source(name: &str, text: &str) -> Result<File, SchemaProblem> {
    if let Some(bytes) = descriptor(text) {
        let no_descriptor = |_| SchemaProblem::NotCompiled("it is base64, and no FileDescriptorProto".to_owned());
        // Decoding nests no deeper than 100 levels; messages as text, no deeper than this.
        let proto = FileDescriptorProto::decode(bytes.as_slice()).map_err(no_descriptor)?;
        // The compiler knows no other, an empty one included, and does not say so well.
        if !matches!(proto.syntax.as_deref(), None | Some("proto2" | "proto3")) {
            return Err(SchemaProblem::NotCompiled("its syntax is neither proto2 nor proto3".to_owned()));
        }
        if proto.message_type.iter().any(|message| levels(message) > MAX_MESSAGES) {
            return Err(SchemaProblem::TooLarge("31 levels of messages"));
        }
        return File::decode_file_descriptor_proto(renamed(&bytes, name).as_slice()).map_err(no_descriptor);
    }
    if nesting(text) > MAX_BRACKETS {
        return Err(SchemaProblem::TooLarge("96 levels of brackets"));
    }
    let mut proto = FileDescriptorProto::from(File::from_source(name, text).map_err(not_compiled)?);
    proto.source_code_info = None;
    Ok(File::from_file_descriptor_proto(proto))
}

fn levels(message: &DescriptorProto) -> usize {
    1 + message.nested_type.iter().map(levels).max().unwrap_or(0)
}

/// A descriptor under another name. It is kept as bytes, since of options that are extensions only those know; the last name
/// wins.
fn renamed(descriptor: &[u8], name: &str) -> Vec<u8> {
    let name = FileDescriptorProto { name: Some(name.to_owned()), ..FileDescriptorProto::default() };
    [descriptor, name.encode_to_vec().as_slice()].concat()
}

/// What a text in base64 holds. A `.proto` file that declares anything has characters that base64 has not.
fn descriptor(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    if text.is_empty() { None } else { STANDARD.decode(text).ok() }
}

fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'{' | b'[' | b'<' => depth += 1,
            b'}' | b']' | b'>' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn not_compiled(error: protox::Error) -> SchemaProblem {
    let said: String = error.to_string().chars().filter(|char| !char.is_control()).take(MAX_TOLD).collect();
    SchemaProblem::NotCompiled(said.replace(&format!("'{OWN}'"), "the schema"))
}

#[cfg(test)]
mod tests;
