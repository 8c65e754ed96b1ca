//! A schema in one file: what it imports and uses stands in it.
//!
//! Records carry the place of a message in its file, fields carry numbers: neither changes if types that were imported are
//! declared after the file's own. Those of another package stand in messages that are called like its parts. Only what the
//! schema's own messages are made of is taken over, so that who is shown the one file learns nothing of the rest.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::prost::Message as _;
use prost_reflect::prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};
use prost_reflect::{EnumDescriptor, FileDescriptor, Kind, MessageDescriptor};

use super::{MAX_MESSAGES, ProtobufSchema, print};
use crate::SchemaProblem;
use crate::text::Reference;

/// What Google's own files are called. They need no reference, and stay imports.
const GOOGLE: &str = "google/protobuf/";
/// Where types stand that were declared in no package.
const NO_PACKAGE: &str = "imported";
/// The most types that are taken over.
const MAX_TYPES: usize = 4_096;

/// The text of the schema as one file that imports nothing but Google's well-known types. Without references, the text as it
/// is.
///
/// # Errors
/// [`SchemaProblem`] if it is no Protobuf schema or too large, or if it is made of what one file cannot hold: messages of
/// another syntax, extensions of what is imported.
pub fn in_one_file(text: &str, references: &[Reference]) -> Result<String, SchemaProblem> {
    if references.is_empty() {
        return Ok(text.to_owned());
    }
    let schema = ProtobufSchema::parse(text, references)?;
    let flat = Flat::of(schema.file())?.file()?;
    print::print(ProtobufSchema::parse(&STANDARD.encode(flat.encode_to_vec()), &[])?.file(), false)
}

/// A name that holds types, and what is declared under it.
#[derive(Default)]
struct Node {
    message: Option<DescriptorProto>,
    enumeration: Option<EnumDescriptorProto>,
    below: BTreeMap<String, Node>,
}

struct Flat {
    own: FileDescriptor,
    /// What is taken over, by new names without the package.
    taken: BTreeMap<String, Node>,
    /// New full names with a dot in front, by those of before.
    names: BTreeMap<String, String>,
    google: BTreeSet<String>,
    open: Vec<MessageDescriptor>,
}

impl Flat {
    /// Finds what the file's own messages are made of.
    fn of(own: &FileDescriptor) -> Result<Self, SchemaProblem> {
        let (taken, names, google) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let mut flat = Self { own: own.clone(), taken, names, google, open: own.messages().collect() };
        let mut seen: BTreeSet<String> = BTreeSet::new();
        while let Some(message) = flat.open.pop() {
            if !seen.insert(message.full_name().to_owned()) {
                continue;
            }
            if message.parent_file() == flat.own {
                flat.open.extend(message.child_messages());
            }
            for field in message.fields() {
                match field.kind() {
                    Kind::Message(found) => flat.message(&found)?,
                    Kind::Enum(found) => flat.enumeration(&found)?,
                    _ => {}
                }
            }
        }
        Ok(flat)
    }

    fn message(&mut self, found: &MessageDescriptor) -> Result<(), SchemaProblem> {
        let Some(path) = self.place(&found.parent_file(), found.full_name())? else { return Ok(()) };
        let (nested_type, enum_type, extension) = Default::default();
        let bare = DescriptorProto { nested_type, enum_type, extension, ..found.descriptor_proto().clone() };
        self.node(&path).message = Some(bare);
        self.open.push(found.clone());
        Ok(())
    }

    fn enumeration(&mut self, found: &EnumDescriptor) -> Result<(), SchemaProblem> {
        let Some(path) = self.place(&found.parent_file(), found.full_name())? else { return Ok(()) };
        self.node(&path).enumeration = Some(found.enum_descriptor_proto().clone());
        Ok(())
    }

    /// Where a type goes; none: it stays where it is, or was taken over before.
    fn place(&mut self, file: &FileDescriptor, name: &str) -> Result<Option<Vec<String>>, SchemaProblem> {
        if *file == self.own || self.names.contains_key(&format!(".{name}")) {
            return Ok(None);
        }
        if file.name().starts_with(GOOGLE) {
            self.google.insert(file.name().to_owned());
            return Ok(None);
        }
        let syntax = |file: &FileDescriptor| match file.file_descriptor_proto().syntax() {
            "" => "proto2".to_owned(),
            syntax => syntax.to_owned(),
        };
        if syntax(file) != syntax(&self.own) {
            let problem = format!("{} is written in another syntax than the schema that uses it", file.name());
            return Err(SchemaProblem::NotCompiled(problem));
        }
        if self.names.len() >= MAX_TYPES {
            return Err(SchemaProblem::TooLarge("4,096 types"));
        }
        let package = file.package_name();
        let inside = if package.is_empty() { Some(name) } else { name.strip_prefix(&format!("{package}.")) };
        let inside = inside.ok_or(SchemaProblem::Dangling)?.split('.').map(str::to_owned);
        let path: Vec<String> = if package == self.own.package_name() {
            inside.collect()
        } else {
            let package = if package.is_empty() { NO_PACKAGE } else { package };
            let mut path: Vec<String> = package.split('.').map(str::to_owned).chain(inside).collect();
            if let Some(first) = path.first_mut() {
                while self.is_own(first) {
                    first.push('_');
                }
            }
            path
        };
        // A package may have any number of parts, and each becomes a message.
        if path.len() > MAX_MESSAGES {
            return Err(SchemaProblem::TooLarge("31 levels of packages and messages"));
        }
        let new = match self.own.package_name() {
            "" => format!(".{}", path.join(".")),
            package => format!(".{package}.{}", path.join(".")),
        };
        self.names.insert(format!(".{name}"), new);
        Ok(Some(path))
    }

    /// Does a file of the schema's own package declare something of that name?
    fn is_own(&self, name: &str) -> bool {
        let full = match self.own.package_name() {
            "" => name.to_owned(),
            package => format!("{package}.{name}"),
        };
        let pool = self.own.parent_pool();
        let mut services = self.own.services();
        pool.get_message_by_name(&full).is_some()
            || pool.get_enum_by_name(&full).is_some()
            || services.any(|service| service.full_name() == full)
    }

    fn node(&mut self, path: &[String]) -> &mut Node {
        let mut below = &mut self.taken;
        let (last, above) = path.split_last().map_or(("", path), |(last, above)| (last.as_str(), above));
        for part in above {
            below = &mut below.entry(part.clone()).or_default().below;
        }
        below.entry(last.to_owned()).or_default()
    }

    fn file(self) -> Result<FileDescriptorProto, SchemaProblem> {
        let mut file = self.own.file_descriptor_proto().clone();
        if file.extension.iter().any(|extension| self.names.contains_key(extension.extendee())) {
            return Err(SchemaProblem::NotCompiled("it extends a message that it imports".to_owned()));
        }
        let mut google = self.google;
        google.extend(file.dependency.iter().filter(|name| name.starts_with(GOOGLE)).cloned());
        file.dependency = google.into_iter().collect();
        file.public_dependency.clear();
        file.weak_dependency.clear();
        // Nobody calls anything by an event.
        file.service.clear();
        file.source_code_info = None;
        for (name, node) in self.taken {
            match node.enumeration {
                Some(enumeration) => file.enum_type.push(enumeration),
                None => file.message_type.push(declared(name, node)),
            }
        }
        file.message_type.iter_mut().for_each(|message| rename(message, &self.names));
        Ok(file)
    }
}

/// No deeper than the compiler let names nest.
fn declared(name: String, node: Node) -> DescriptorProto {
    let mut message = node.message.unwrap_or_default();
    message.name = Some(name);
    for (name, node) in node.below {
        match node.enumeration {
            Some(enumeration) => message.enum_type.push(enumeration),
            None => message.nested_type.push(declared(name, node)),
        }
    }
    message
}

fn rename(message: &mut DescriptorProto, names: &BTreeMap<String, String>) {
    for field in message.field.iter_mut().chain(&mut message.extension) {
        if let Some(new) = field.type_name.as_ref().and_then(|name| names.get(name)) {
            field.type_name = Some(new.clone());
        }
    }
    message.nested_type.iter_mut().for_each(|nested| rename(nested, names));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> Reference {
        Reference { name: name.into(), text: text.into() }
    }

    #[test]
    fn what_is_imported_and_used_stands_in_the_file_after_its_own_messages() {
        let others = [
            file(
                "geo.proto",
                "syntax = \"proto3\"; package common.geo; import \"google/protobuf/timestamp.proto\";
                message Outer { message Point { double lat = 1; Kind kind = 2; map<string, Point> near = 3; google.protobuf.Timestamp at = 4; } message Unused { string secret = 1; } }
                enum Kind { NONE = 0; SEEN = 1; } message Other { string secret = 1; }",
            ),
            file(
                "address.proto",
                "syntax = \"proto3\"; package acme; import \"geo.proto\"; message Address { string city = 1; common.geo.Outer.Point at = 2; } enum State { NONE = 0; }",
            ),
            file("plain.proto", "syntax = \"proto3\"; message Note { string text = 1; }"),
        ];
        let text = "syntax = \"proto3\"; package acme; import \"address.proto\"; import \"plain.proto\";
            message common { Note note = 1; } message Order { string id = 1; Address to = 2; repeated State states = 3; }
            service Orders { rpc Get(Order) returns (Address); }";
        let flat = in_one_file(text, &others).unwrap();
        let schema = ProtobufSchema::parse(&flat, &[]).unwrap();
        let (_, place) = schema.messages("acme.Order").unwrap();
        assert_eq!(place, [1], "where it was");
        let point = schema.pool().get_message_by_name("acme.common_.geo.Outer.Point").unwrap();
        let kind = |name: &str| format!("{:?}", point.get_field_by_name(name).unwrap().kind());
        assert!(kind("kind").contains("acme.common_.geo.Kind"), "{}", kind("kind"));
        assert!(point.get_field_by_name("near").unwrap().is_map());
        assert!(schema.pool().get_message_by_name("acme.imported.Note").is_some());
        assert!(!flat.contains("secret") && !flat.contains("service") && flat.contains("timestamp.proto"), "{flat}");
        let again = super::super::canonical(&flat, &[], true).unwrap();
        assert_eq!(super::super::canonical(&flat, &[], true).unwrap(), again);
        let number = |text: &str| in_one_file(text, &others).unwrap();
        assert_eq!(
            number(&text.replace("address.proto\"; import \"plain.proto\"", "plain.proto\"; import \"address.proto\"")),
            flat
        );
    }

    #[test]
    fn what_one_file_cannot_hold_is_refused() {
        let old = [file("old.proto", "syntax = \"proto2\"; package old; message Old { required string a = 1; }")];
        let text = "syntax = \"proto3\"; import \"old.proto\"; message New { old.Old old = 1; }";
        assert!(in_one_file(text, &old).unwrap_err().to_string().contains("another syntax"));
        assert!(in_one_file("syntax = \"proto3\"; import \"no.proto\"; message A {}", &old).is_err());
        let package = vec!["a"; 10_000].join(".");
        let deep = [file("deep.proto", &format!("syntax = \"proto3\"; package {package}; message Deep {{}}"))];
        let text = format!("syntax = \"proto3\"; import \"deep.proto\"; message New {{ .{package}.Deep deep = 1; }}");
        assert!(matches!(in_one_file(&text, &deep), Err(SchemaProblem::TooLarge(_))));
    }
}
