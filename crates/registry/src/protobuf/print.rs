//! A compiled Protobuf file as text, in one form.
//!
//! Types are called by their full names with a dot in front, which is right in every scope. Comments are not kept. The
//! order of nested messages is: serializers count them, the entries of maps and groups among them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto};
use prost_reflect::{
    DynamicMessage, EnumDescriptor, ExtensionDescriptor, FileDescriptor, Kind, MapKey, MessageDescriptor,
    ServiceDescriptor, Value,
};

use crate::SchemaProblem;

/// The longest text that is written: a descriptor says some things in fewer bytes.
const MAX_TEXT: usize = 1 << 20;
/// The end of an open range of field numbers; those of enums end at the largest number.
const MAX_FIELD: i32 = 536_870_912;

/// The text of a file; `normalize`: imports by name, fields and values by number.
pub(super) fn print(file: &FileDescriptor, normalize: bool) -> Result<String, SchemaProblem> {
    let mut printer = Printer { out: String::new(), depth: 0, normalize };
    printer.file(file);
    if printer.out.len() > MAX_TEXT { Err(SchemaProblem::TooLarge("1 MiB as text")) } else { Ok(printer.out) }
}

struct Printer {
    out: String,
    depth: usize,
    normalize: bool,
}

impl Printer {
    fn line(&mut self, line: &str) {
        // What is too long already is refused at the end.
        if self.out.len() <= MAX_TEXT {
            let _ = writeln!(self.out, "{:width$}{line}", "", width = 2 * self.depth);
        }
    }

    fn block(&mut self, head: &str, inside: impl FnOnce(&mut Self)) {
        self.line(&format!("{head} {{"));
        self.depth += 1;
        inside(self);
        self.depth -= 1;
        self.line("}");
    }

    fn file(&mut self, file: &FileDescriptor) {
        let proto = file.file_descriptor_proto();
        let syntax = if proto.syntax().is_empty() { "proto2" } else { proto.syntax() };
        self.line(&format!("syntax = \"{syntax}\";"));
        if !proto.package().is_empty() {
            self.line(&format!("package {};", proto.package()));
        }
        self.imports(proto);
        for (name, value) in options(&file.options()) {
            self.line(&format!("option {name} = {value};"));
        }
        file.messages().for_each(|message| self.message(&message));
        file.enums().for_each(|one| self.enumeration(&one));
        self.extensions(file.extensions().collect());
        file.services().for_each(|service| self.service(&service));
    }

    fn imports(&mut self, proto: &FileDescriptorProto) {
        let is = |list: &[i32], index: usize| list.iter().any(|one| usize::try_from(*one) == Ok(index));
        let mut imports: Vec<String> = Vec::new();
        for (index, name) in proto.dependency.iter().enumerate() {
            let kind = match () {
                () if is(&proto.public_dependency, index) => "public ",
                () if is(&proto.weak_dependency, index) => "weak ",
                () => "",
            };
            imports.push(format!("import {kind}{};", quoted(name.as_bytes(), true)));
        }
        if self.normalize {
            imports.sort();
        }
        imports.iter().for_each(|import| self.line(import));
    }

    fn message(&mut self, message: &MessageDescriptor) {
        self.block(&format!("message {}", message.name()), |printer| printer.message_body(message));
    }

    fn message_body(&mut self, message: &MessageDescriptor) {
        let proto = message.descriptor_proto();
        for (name, value) in options(&message.options()) {
            self.line(&format!("option {name} = {value};"));
        }
        self.reserved(
            proto.reserved_range.iter().map(|range| (range.start(), range.end() - 1)).collect(),
            MAX_FIELD - 1,
            proto.reserved_name.clone(),
        );
        for range in &proto.extension_range {
            let to = to_max(range.start(), range.end() - 1, MAX_FIELD - 1);
            self.line(&format!("extensions {to};"));
        }
        let nested: Vec<MessageDescriptor> = message.child_messages().collect();
        let mut next = 0;
        let mut oneofs = BTreeSet::new();
        for index in self.order(message) {
            let Some(field) = proto.field.get(index) else { continue };
            match oneof_of(field) {
                Some(oneof) => {
                    if oneofs.insert(oneof) {
                        self.oneof(message, oneof, &nested, &mut next);
                    }
                }
                None => self.member(message, index, &nested, &mut next),
            }
        }
        self.before(&nested, &mut next, usize::MAX);
        message.child_enums().for_each(|one| self.enumeration(&one));
        self.extensions(message.child_extensions().collect());
    }

    /// The fields, by their places. By number if that moves no entry of a map and no group.
    fn order(&self, message: &MessageDescriptor) -> Vec<usize> {
        let fields = &message.descriptor_proto().field;
        let mut order: Vec<usize> = (0..fields.len()).collect();
        if self.normalize {
            let makes_type = |index: &usize| {
                fields
                    .get(*index)
                    .is_some_and(|field| entry_of(message, field).is_some() || field.r#type() == Type::Group)
            };
            let number = |index: &usize| fields.get(*index).map_or(0, FieldDescriptorProto::number);
            order.sort_by_key(|index| if makes_type(index) { (1, 0) } else { (0, number(index)) });
        }
        order
    }

    /// Nested messages up to that place among them. The entry of a map and the message of a group come with their fields.
    fn before(&mut self, nested: &[MessageDescriptor], next: &mut usize, until: usize) {
        while let Some(message) = nested.get(*next).filter(|_| *next < until) {
            if !message.is_map_entry() && !is_group(message) {
                self.message(message);
            }
            *next += 1;
        }
    }

    fn oneof(&mut self, message: &MessageDescriptor, oneof: usize, nested: &[MessageDescriptor], next: &mut usize) {
        let proto = message.descriptor_proto();
        let name = proto.oneof_decl.get(oneof).map(|one| one.name().to_owned()).unwrap_or_default();
        let options = message.oneofs().nth(oneof).map(|one| options(&one.options())).unwrap_or_default();
        let members: Vec<usize> = self
            .order(message)
            .into_iter()
            .filter(|index| proto.field.get(*index).is_some_and(|field| oneof_of(field) == Some(oneof)))
            .collect();
        // A message cannot be declared inside.
        for index in &members {
            if let Some(place) = proto.field.get(*index).and_then(|field| own_type(nested, field)) {
                self.before(nested, next, place);
            }
        }
        self.block(&format!("oneof {name}"), |printer| {
            for (name, value) in options {
                printer.line(&format!("option {name} = {value};"));
            }
            for index in members {
                printer.member(message, index, nested, next);
            }
        });
    }

    /// A field of a message, after the nested messages that were declared before its own type.
    fn member(&mut self, message: &MessageDescriptor, index: usize, nested: &[MessageDescriptor], next: &mut usize) {
        let proto = message.descriptor_proto();
        let Some(field) = proto.field.get(index) else { return };
        if let Some(place) = own_type(nested, field) {
            self.before(nested, next, place);
        }
        let found = u32::try_from(field.number()).ok().and_then(|number| message.get_field(number));
        let custom = found.map(|found| options(&found.options())).unwrap_or_default();
        let kind = match entry_of(message, field) {
            Some(entry) => {
                let part = |number: usize| {
                    let proto = entry.descriptor_proto();
                    proto.field.get(number).map(type_name).unwrap_or_default()
                };
                format!("map<{}, {}>", part(0), part(1))
            }
            None => type_name(field),
        };
        let is_bare = oneof_of(field).is_some() || kind.starts_with("map<");
        let is_proto3 = message.parent_file().file_descriptor_proto().syntax() == "proto3";
        let label = if is_bare { "" } else { label(field, is_proto3) };
        let group =
            (field.r#type() == Type::Group).then(|| own_type(nested, field).and_then(|at| nested.get(at))).flatten();
        self.field(field, label, &kind, custom, group);
    }

    fn field(
        &mut self,
        field: &FieldDescriptorProto,
        label: &str,
        kind: &str,
        custom: Vec<(String, String)>,
        group: Option<&MessageDescriptor>,
    ) {
        let options = bracketed(own_options(field).into_iter().chain(custom));
        match group {
            Some(group) => {
                let head = format!("{label}group {} = {}{options}", group.name(), field.number());
                self.block(&head, |printer| printer.message_body(group));
            }
            None => self.line(&format!("{label}{kind} {} = {}{options};", field.name(), field.number())),
        }
    }

    fn enumeration(&mut self, one: &EnumDescriptor) {
        let proto: &EnumDescriptorProto = one.enum_descriptor_proto();
        self.block(&format!("enum {}", one.name()), |printer| {
            for (name, value) in options(&one.options()) {
                printer.line(&format!("option {name} = {value};"));
            }
            printer.reserved(
                proto.reserved_range.iter().map(|range| (range.start(), range.end())).collect(),
                i32::MAX,
                proto.reserved_name.clone(),
            );
            let mut values: Vec<(i32, &str)> = proto.value.iter().map(|value| (value.number(), value.name())).collect();
            if printer.normalize {
                // The first one is the default of proto2.
                values.get_mut(1..).unwrap_or_default().sort_unstable();
            }
            for (number, name) in values {
                let found = one.get_value_by_name(name).map(|value| options(&value.options()));
                printer.line(&format!("{name} = {number}{};", bracketed(found.unwrap_or_default().into_iter())));
            }
        });
    }

    fn reserved(&mut self, mut ranges: Vec<(i32, i32)>, max: i32, mut names: Vec<String>) {
        if self.normalize {
            ranges.sort_unstable();
            names.sort();
        }
        let ranges: Vec<String> = ranges.iter().map(|(start, end)| to_max(*start, *end, max)).collect();
        if !ranges.is_empty() {
            self.line(&format!("reserved {};", ranges.join(", ")));
        }
        let names: Vec<String> = names.iter().map(|name| quoted(name.as_bytes(), true)).collect();
        if !names.is_empty() {
            self.line(&format!("reserved {};", names.join(", ")));
        }
    }

    fn extensions(&mut self, extensions: Vec<ExtensionDescriptor>) {
        for extension in extensions {
            let proto = extension.field_descriptor_proto();
            let is_proto3 = extension.parent_file().file_descriptor_proto().syntax() == "proto3";
            self.block(&format!("extend .{}", extension.containing_message().full_name()), |printer| {
                let custom = options(&extension.options());
                printer.field(proto, label(proto, is_proto3), &type_name(proto), custom, None);
            });
        }
    }

    fn service(&mut self, service: &ServiceDescriptor) {
        self.block(&format!("service {}", service.name()), |printer| {
            for (name, value) in options(&service.options()) {
                printer.line(&format!("option {name} = {value};"));
            }
            for method in service.methods() {
                let stream = |is: bool| if is { "stream " } else { "" };
                let head = format!(
                    "rpc {} ({}.{}) returns ({}.{})",
                    method.name(),
                    stream(method.is_client_streaming()),
                    method.input().full_name(),
                    stream(method.is_server_streaming()),
                    method.output().full_name(),
                );
                let options = options(&method.options());
                if options.is_empty() {
                    printer.line(&format!("{head};"));
                } else {
                    printer.block(&head, |printer| {
                        for (name, value) in options {
                            printer.line(&format!("option {name} = {value};"));
                        }
                    });
                }
            }
        });
    }
}

fn is_group(message: &MessageDescriptor) -> bool {
    let Some(parent) = message.parent_message() else { return false };
    let full = format!(".{}", message.full_name());
    parent.descriptor_proto().field.iter().any(|field| field.r#type() == Type::Group && field.type_name() == full)
}

/// Where among the nested messages the type is that a map or group brings along.
fn own_type(nested: &[MessageDescriptor], field: &FieldDescriptorProto) -> Option<usize> {
    if !matches!(field.r#type(), Type::Message | Type::Group) {
        return None;
    }
    let name = field.type_name().trim_start_matches('.');
    nested
        .iter()
        .position(|message| message.full_name() == name && (message.is_map_entry() || field.r#type() == Type::Group))
}

fn entry_of(message: &MessageDescriptor, field: &FieldDescriptorProto) -> Option<MessageDescriptor> {
    if field.r#type() != Type::Message {
        return None;
    }
    let name = field.type_name().trim_start_matches('.');
    message.child_messages().find(|nested| nested.is_map_entry() && nested.full_name() == name)
}

/// The oneof of a field; those that stand for `optional` are none.
fn oneof_of(field: &FieldDescriptorProto) -> Option<usize> {
    let index = field.oneof_index.filter(|_| !field.proto3_optional())?;
    usize::try_from(index).ok()
}

fn label(field: &FieldDescriptorProto, is_proto3: bool) -> &'static str {
    match field.label() {
        Label::Repeated => "repeated ",
        Label::Required => "required ",
        Label::Optional if is_proto3 && !field.proto3_optional() => "",
        Label::Optional => "optional ",
    }
}

fn type_name(field: &FieldDescriptorProto) -> String {
    let scalar = match field.r#type() {
        Type::Double => "double",
        Type::Float => "float",
        Type::Int64 => "int64",
        Type::Uint64 => "uint64",
        Type::Int32 => "int32",
        Type::Fixed64 => "fixed64",
        Type::Fixed32 => "fixed32",
        Type::Bool => "bool",
        Type::String => "string",
        Type::Bytes => "bytes",
        Type::Uint32 => "uint32",
        Type::Sfixed32 => "sfixed32",
        Type::Sfixed64 => "sfixed64",
        Type::Sint32 => "sint32",
        Type::Sint64 => "sint64",
        Type::Group | Type::Message | Type::Enum => return field.type_name().to_owned(),
    };
    scalar.to_owned()
}

/// What stands among a field's options and is none.
fn own_options(field: &FieldDescriptorProto) -> Vec<(String, String)> {
    let mut options = Vec::new();
    if let Some(default) = &field.default_value {
        let value = match field.r#type() {
            Type::String => quoted(default.as_bytes(), true),
            // Escaped already.
            Type::Bytes => format!("\"{default}\""),
            _ => default.clone(),
        };
        options.push(("default".to_owned(), value));
    }
    if let Some(name) = &field.json_name
        && *name != json_name(field.name())
    {
        options.push(("json_name".to_owned(), quoted(name.as_bytes(), true)));
    }
    options
}

/// The name that a field has in JSON unless it says another.
fn json_name(name: &str) -> String {
    let mut out = String::new();
    let mut is_next_upper = false;
    for char in name.chars() {
        match char {
            '_' => is_next_upper = true,
            char if is_next_upper => {
                out.push(char.to_ascii_uppercase());
                is_next_upper = false;
            }
            char => out.push(char),
        }
    }
    out
}

fn to_max(start: i32, end: i32, max: i32) -> String {
    match end {
        end if end >= max => format!("{start} to max"),
        end if end == start => start.to_string(),
        end => format!("{start} to {end}"),
    }
}

fn bracketed(options: impl Iterator<Item = (String, String)>) -> String {
    let list: Vec<String> = options.map(|(name, value)| format!("{name} = {value}")).collect();
    if list.is_empty() { String::new() } else { format!(" [{}]", list.join(", ")) }
}

/// Options by name, those of others after Protobuf's own.
fn options(message: &DynamicMessage) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (field, value) in message.fields() {
        if field.name() != "map_entry" && field.name() != "uninterpreted_option" {
            each(field.name(), &field.kind(), value, &mut out);
        }
    }
    for (extension, value) in message.extensions() {
        each(&format!("({})", extension.full_name()), &extension.kind(), value, &mut out);
    }
    out
}

fn each(name: &str, kind: &Kind, value: &Value, out: &mut Vec<(String, String)>) {
    match value {
        Value::List(values) => out.extend(values.iter().map(|value| (name.to_owned(), literal(kind, value)))),
        value => out.push((name.to_owned(), literal(kind, value))),
    }
}

fn literal(kind: &Kind, value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::I32(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::U64(value) => value.to_string(),
        Value::F32(value) => float(f64::from(*value), value.to_string()),
        Value::F64(value) => float(*value, value.to_string()),
        Value::String(text) => quoted(text.as_bytes(), true),
        Value::Bytes(bytes) => quoted(bytes, false),
        Value::EnumNumber(number) => {
            let name = kind.as_enum().and_then(|one| one.get_value(*number)).map(|value| value.name().to_owned());
            name.unwrap_or_else(|| number.to_string())
        }
        Value::Message(message) => {
            let mut parts = Vec::new();
            for (field, value) in message.fields() {
                each(field.name(), &field.kind(), value, &mut parts);
            }
            for (extension, value) in message.extensions() {
                each(&format!("[{}]", extension.full_name()), &extension.kind(), value, &mut parts);
            }
            let parts: Vec<String> = parts.into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
            format!("{{ {} }}", parts.join(", "))
        }
        Value::List(values) => values.iter().map(|value| literal(kind, value)).collect::<Vec<_>>().join(", "),
        Value::Map(entries) => entry(kind, entries.iter()),
    }
}

/// The one entry or the entries of a map, as the messages that they are.
fn entry<'a>(kind: &Kind, entries: impl Iterator<Item = (&'a MapKey, &'a Value)>) -> String {
    let Some(message) = kind.as_message() else { return "{ }".to_owned() };
    let (key_kind, value_kind) = (message.map_entry_key_field().kind(), message.map_entry_value_field().kind());
    let mut list: Vec<String> = entries
        .map(|(key, value)| {
            let key = literal(&key_kind, &Value::from(key.clone()));
            format!("{{ key: {key}, value: {} }}", literal(&value_kind, value))
        })
        .collect();
    list.sort();
    format!("[{}]", list.join(", "))
}

fn float(value: f64, text: String) -> String {
    match value {
        value if value.is_nan() => "nan".to_owned(),
        f64::INFINITY => "inf".to_owned(),
        f64::NEG_INFINITY => "-inf".to_owned(),
        _ => text,
    }
}

fn quoted(bytes: &[u8], is_text: bool) -> String {
    let mut out = String::from("\"");
    let mut put = |char: char| match char {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        char if u32::from(char) < 0x20 || char == '\u{7f}' || (!is_text && !char.is_ascii()) => {
            let _ = write!(out, "\\{:03o}", u32::from(char));
        }
        char => out.push(char),
    };
    match std::str::from_utf8(bytes) {
        Ok(text) if is_text => text.chars().for_each(&mut put),
        _ => bytes.iter().for_each(|byte| put(char::from(*byte))),
    }
    out.push('"');
    out
}
