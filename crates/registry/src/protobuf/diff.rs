//! Can a reader with one Protobuf schema read what was written with another?
//!
//! The names, places and rules are those of Confluent's registry: fields are known by their numbers, scalars change within
//! their wire kind, messages are known by their names within their package. That a field's packing changes says nothing:
//! parsers take both.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{
    Cardinality, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor, OneofDescriptor,
};

use super::ProtobufSchema;
use crate::SchemaProblem;
use crate::difference::{Difference, MAX_TOLD};

/// Changes after which a reader with the new schema still reads what was written with the old one.
const HARMLESS: [&str; 14] = [
    "MESSAGE_ADDED",
    "MESSAGE_MOVED",
    "ENUM_ADDED",
    "ENUM_REMOVED",
    "ENUM_CONST_ADDED",
    "ENUM_CONST_CHANGED",
    "ENUM_CONST_REMOVED",
    "FIELD_ADDED",
    "FIELD_REMOVED",
    "FIELD_NAME_CHANGED",
    "FIELD_STRING_OR_BYTES_LABEL_CHANGED",
    "ONEOF_ADDED",
    "ONEOF_REMOVED",
    "ONEOF_FIELD_ADDED",
];
/// One more of them: it only relaxes what excludes what.
const RELAXED: &str = "ONEOF_FIELD_MOVED_TO_TOP_LEVEL";

/// The changes from `original` to `update`. `steps` is how many pairs of messages and fields may still be looked at.
pub(crate) fn compare(
    original: &ProtobufSchema,
    update: &ProtobufSchema,
    steps: &mut usize,
) -> Result<Vec<Difference>, SchemaProblem> {
    let (old, new) = (original.file(), update.file());
    let mut differ = Differ { old, new, steps: *steps, seen: BTreeMap::new(), found: Vec::new(), broken: 0 };
    let done = differ.files();
    *steps = differ.steps;
    done.map(|()| differ.found)
}

struct Differ<'a> {
    old: &'a FileDescriptor,
    new: &'a FileDescriptor,
    /// Left.
    steps: usize,
    /// Imported messages that were compared, and whether something broke; unknown while they are.
    seen: BTreeMap<(String, String), Option<bool>>,
    found: Vec<Difference>,
    broken: usize,
}

type Done = Result<(), SchemaProblem>;

impl Differ<'_> {
    fn tell(&mut self, kind: &'static str, at: &str) {
        let is_compatible = HARMLESS.contains(&kind) || kind == RELAXED;
        self.broken += usize::from(!is_compatible);
        if self.found.len() < MAX_TOLD || (!is_compatible && self.found.len() < 2 * MAX_TOLD) {
            let at = format!("#/{}", at.trim_start_matches('/'));
            self.found.push(Difference { kind, at, is_compatible, what: String::new() });
        }
    }

    fn step(&mut self) -> Done {
        self.steps = self.steps.checked_sub(1).ok_or(SchemaProblem::TooComplex)?;
        Ok(())
    }

    fn files(&mut self) -> Done {
        let (old, new) = (self.old, self.new);
        if old.package_name() != new.package_name() {
            self.tell("PACKAGE_CHANGED", "");
        }
        self.declared(old.messages().collect(), new.messages().collect(), "")?;
        self.enums(old.enums().collect(), new.enums().collect(), "")
    }

    fn declared(&mut self, old: Vec<MessageDescriptor>, new: Vec<MessageDescriptor>, at: &str) -> Done {
        let places = |messages: Vec<MessageDescriptor>| -> BTreeMap<String, (usize, MessageDescriptor)> {
            let all = messages.into_iter().filter(|message| !message.is_map_entry()).enumerate();
            all.map(|(index, message)| (message.name().to_owned(), (index, message))).collect()
        };
        let (old, new) = (places(old), places(new));
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let place = format!("{at}/{name}");
            match (old.get(name), new.get(name)) {
                (Some(_), None) => self.tell("MESSAGE_REMOVED", &place),
                (None, _) => self.tell("MESSAGE_ADDED", &place),
                (Some((before, old)), Some((after, new))) => {
                    self.messages(old, new, &place)?;
                    if before != after {
                        self.tell("MESSAGE_MOVED", &place);
                    }
                }
            }
        }
        Ok(())
    }

    fn enums(&mut self, old: Vec<EnumDescriptor>, new: Vec<EnumDescriptor>, at: &str) -> Done {
        let by_name = |enums: Vec<EnumDescriptor>| -> BTreeMap<String, EnumDescriptor> {
            enums.into_iter().map(|one| (one.name().to_owned(), one)).collect()
        };
        let (old, new) = (by_name(old), by_name(new));
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let place = format!("{at}/{name}");
            match (old.get(name), new.get(name)) {
                (Some(_), None) => self.tell("ENUM_REMOVED", &place),
                (None, _) => self.tell("ENUM_ADDED", &place),
                (Some(old), Some(new)) => self.constants(old, new, &place)?,
            }
        }
        Ok(())
    }

    fn constants(&mut self, old: &EnumDescriptor, new: &EnumDescriptor, at: &str) -> Done {
        let by_number = |one: &EnumDescriptor| -> BTreeMap<i32, String> {
            one.values().map(|value| (value.number(), value.name().to_owned())).collect()
        };
        let (old, new) = (by_number(old), by_number(new));
        for number in old.keys().chain(new.keys().filter(|number| !old.contains_key(number))) {
            self.step()?;
            let place = format!("{at}/{number}");
            match (old.get(number), new.get(number)) {
                (Some(_), None) => self.tell("ENUM_CONST_REMOVED", &place),
                (None, _) => self.tell("ENUM_CONST_ADDED", &place),
                (Some(old), Some(new)) if old != new => self.tell("ENUM_CONST_CHANGED", &place),
                _ => {}
            }
        }
        Ok(())
    }

    /// Messages nest no deeper than the compiler lets them, so neither does this.
    fn messages(&mut self, old: &MessageDescriptor, new: &MessageDescriptor, at: &str) -> Done {
        self.step()?;
        self.exclusions(old, new, at);
        let gone = gone_oneofs(old, new);
        let by_number = |message: &MessageDescriptor| -> BTreeMap<u32, FieldDescriptor> {
            message.fields().map(|field| (field.number(), field)).collect()
        };
        let (old_fields, new_fields) = (by_number(old), by_number(new));
        let numbers: BTreeSet<u32> = old_fields.keys().chain(new_fields.keys()).copied().collect();
        for number in numbers {
            self.step()?;
            match (old_fields.get(&number), new_fields.get(&number)) {
                (Some(field), None) => match oneof(field) {
                    Some(oneof) if gone.contains(oneof.name()) => {}
                    Some(oneof) => self.tell("ONEOF_FIELD_REMOVED", &format!("{at}/{}/{number}", oneof.name())),
                    None if field.is_required() => self.tell("REQUIRED_FIELD_REMOVED", &format!("{at}/{number}")),
                    None => self.tell("FIELD_REMOVED", &format!("{at}/{number}")),
                },
                (None, Some(field)) => match oneof(field) {
                    Some(oneof) => self.tell("ONEOF_FIELD_ADDED", &format!("{at}/{}/{number}", oneof.name())),
                    None if field.is_required() => self.tell("REQUIRED_FIELD_ADDED", &format!("{at}/{number}")),
                    None => self.tell("FIELD_ADDED", &format!("{at}/{number}")),
                },
                (Some(old), Some(new)) => {
                    let place = match oneof(new) {
                        Some(oneof) => format!("{at}/{}/{number}", oneof.name()),
                        None => format!("{at}/{number}"),
                    };
                    if oneof(old).is_some() && oneof(new).is_none() {
                        self.tell(RELAXED, &place);
                    }
                    self.fields(old, new, &place)?;
                }
                (None, None) => {}
            }
        }
        self.declared(old.child_messages().collect(), new.child_messages().collect(), at)?;
        self.enums(old.child_enums().collect(), new.child_enums().collect(), at)
    }

    /// Fields that could be set together and now exclude each other, and which oneofs came and went.
    fn exclusions(&mut self, old: &MessageDescriptor, new: &MessageDescriptor, at: &str) {
        for one in real_oneofs(new) {
            let mut groups = BTreeSet::new();
            let mut moved_in = 0;
            for field in one.fields() {
                let Some(before) = old.get_field(field.number()) else { continue };
                match oneof(&before) {
                    Some(group) => drop(groups.insert((group.name().to_owned(), 0))),
                    None => {
                        groups.insert((String::new(), field.number()));
                        moved_in += 1;
                    }
                }
            }
            if groups.len() > 1 {
                let kind =
                    if moved_in > 1 { "MULTIPLE_FIELDS_MOVED_TO_ONEOF" } else { "FIELD_MOVED_TO_EXISTING_ONEOF" };
                self.tell(kind, &format!("{at}/{}", one.name()));
            }
        }
        let names = |message: &MessageDescriptor| -> BTreeSet<String> {
            real_oneofs(message).map(|one| one.name().to_owned()).collect()
        };
        let (before, after) = (names(old), names(new));
        before.difference(&after).for_each(|name| self.tell("ONEOF_REMOVED", &format!("{at}/{name}")));
        after.difference(&before).for_each(|name| self.tell("ONEOF_ADDED", &format!("{at}/{name}")));
    }

    fn fields(&mut self, old: &FieldDescriptor, new: &FieldDescriptor, at: &str) -> Done {
        if old.name() != new.name() {
            self.tell("FIELD_NAME_CHANGED", at);
        }
        match (old.is_map(), new.is_map()) {
            (true, true) => {
                let entries = (old.kind().as_message().cloned(), new.kind().as_message().cloned());
                let (Some(old), Some(new)) = entries else { return Ok(()) };
                self.kinds(&old.map_entry_key_field(), &new.map_entry_key_field(), false, at)?;
                self.kinds(&old.map_entry_value_field(), &new.map_entry_value_field(), false, at)
            }
            (false, false) => self.kinds(old, new, true, at),
            _ => {
                self.tell("FIELD_KIND_CHANGED", at);
                Ok(())
            }
        }
    }

    fn kinds(&mut self, old: &FieldDescriptor, new: &FieldDescriptor, has_label: bool, at: &str) -> Done {
        match (scalar(&old.kind()), scalar(&new.kind())) {
            (Some(before), Some(after)) if before != after => self.tell("FIELD_SCALAR_KIND_CHANGED", at),
            (Some(kind), Some(_)) => {
                if has_label && label(old) != label(new) {
                    let is_text = kind == Scalar::StringOrBytes;
                    let kind =
                        if is_text { "FIELD_STRING_OR_BYTES_LABEL_CHANGED" } else { "FIELD_NUMERIC_LABEL_CHANGED" };
                    self.tell(kind, at);
                }
            }
            (None, None) => {
                let (old, new) = (old.kind(), new.kind());
                if let (Some(old), Some(new)) = (old.as_message(), new.as_message()) {
                    self.named(old, new, at)?;
                }
            }
            _ => self.tell("FIELD_KIND_CHANGED", at),
        }
        Ok(())
    }

    /// What is declared in both files is compared where it is declared; what is imported, here.
    fn named(&mut self, old: &MessageDescriptor, new: &MessageDescriptor, at: &str) -> Done {
        let (before, after) = (local(old), local(new));
        if before != after {
            self.tell("FIELD_NAMED_TYPE_CHANGED", at);
            return Ok(());
        }
        if old.parent_file() == *self.old && new.parent_file() == *self.new {
            return Ok(());
        }
        let key = (old.full_name().to_owned(), new.full_name().to_owned());
        let is_broken = match self.seen.get(&key) {
            Some(known) => known.unwrap_or(false),
            None => {
                self.seen.insert(key.clone(), None);
                if self.seen.len() > MAX_IMPORTED {
                    return Err(SchemaProblem::TooComplex);
                }
                let broken = self.broken;
                self.messages(old, new, &format!("/{}", before.replace('.', "/")))?;
                let is_broken = self.broken > broken;
                self.seen.insert(key, Some(is_broken));
                is_broken
            }
        };
        if is_broken {
            self.tell("FIELD_NAMED_TYPE_CHANGED", at);
        }
        Ok(())
    }
}

/// The most imported messages that are compared: each may lead to the next.
const MAX_IMPORTED: usize = 100;

/// The name of a message within its package.
fn local(message: &MessageDescriptor) -> &str {
    let name = message.full_name();
    match message.package_name() {
        "" => name,
        package => name.strip_prefix(package).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name),
    }
}

/// `optional` of proto3 is a oneof to the compiler, and to nobody else.
fn oneof(field: &FieldDescriptor) -> Option<OneofDescriptor> {
    field.containing_oneof().filter(|one| !one.is_synthetic())
}

fn real_oneofs(message: &MessageDescriptor) -> impl Iterator<Item = OneofDescriptor> {
    message.oneofs().filter(|one| !one.is_synthetic())
}

/// Oneofs that went with all of their fields: who knows them no more misses none.
fn gone_oneofs(old: &MessageDescriptor, new: &MessageDescriptor) -> BTreeSet<String> {
    let kept: BTreeSet<String> = real_oneofs(new).map(|one| one.name().to_owned()).collect();
    let is_gone = |one: &OneofDescriptor| {
        !kept.contains(one.name()) && one.fields().all(|field| new.get_field(field.number()).is_none())
    };
    real_oneofs(old).filter(is_gone).map(|one| one.name().to_owned()).collect()
}

/// Scalars that are read as each other.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Scalar {
    Number,
    Signed,
    StringOrBytes,
    Fixed32,
    Fixed64,
    Float,
    Double,
}

fn scalar(kind: &Kind) -> Option<Scalar> {
    Some(match kind {
        Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Bool | Kind::Enum(_) => Scalar::Number,
        Kind::Sint32 | Kind::Sint64 => Scalar::Signed,
        Kind::String | Kind::Bytes => Scalar::StringOrBytes,
        Kind::Fixed32 | Kind::Sfixed32 => Scalar::Fixed32,
        Kind::Fixed64 | Kind::Sfixed64 => Scalar::Fixed64,
        Kind::Float => Scalar::Float,
        Kind::Double => Scalar::Double,
        Kind::Message(_) => return None,
    })
}

/// None where the field says none: then nothing is compared.
fn label(field: &FieldDescriptor) -> Cardinality {
    field.cardinality()
}
