//! Whether a contract and its Avro schema speak of the same things.

use tradelane_encodings::Slot;
use tradelane_encodings::avro::{Schema, Type};
use tradelane_model::pattern::{Pattern, Segment};
use tradelane_model::shape::{Place, Shape, Types};
use tradelane_tape::Kind;

use crate::binary::Agreement;

pub(in crate::binary) fn agree(schema: &Schema, shape: &Shape) -> Result<Agreement, (Pattern, String)> {
    let mut checker = Checker { schema, is_implied: true };
    checker.place(&shape.root, &Pattern::default(), 0)?;
    Ok(Agreement { is_implied: checker.is_implied })
}

struct Checker<'c> {
    schema: &'c Schema,
    is_implied: bool,
}

impl Checker<'_> {
    fn place(&mut self, place: &Place, at: &Pattern, first: Slot) -> Result<(), (Pattern, String)> {
        let schema = self.schema;
        let branches = schema.branches(first);
        self.types(place, at, first)?;
        if branches.clone().any(|slot| schema.kind_at(slot) == Kind::Null) && place.required {
            self.is_implied = false;
        }
        for (name, child) in &place.properties {
            let below = at.join(Segment::Property(name.clone()));
            let mut found = false;
            for slot in branches.clone() {
                match schema.type_at(slot).map(|(kind, _)| kind) {
                    Some(Type::Record(fields)) => {
                        if let Some(field) = fields.iter().find(|field| *field.name == **name) {
                            self.place(child, &below, field.slot)?;
                            found = true;
                        }
                    }
                    Some(Type::Map(values)) => {
                        self.is_implied &= !child.required;
                        self.place(child, &below, *values)?;
                        found = true;
                    }
                    _ => {}
                }
            }
            if !found {
                return Err((below, "the schema of the events has no such field".into()));
            }
        }
        let inside = |slot: Slot, items: bool| match schema.type_at(slot).map(|(kind, _)| kind) {
            Some(Type::Array(inner)) if items => Some(*inner),
            Some(Type::Map(inner)) if !items => Some(*inner),
            _ => None,
        };
        let below = [(&place.items, Segment::Items, "array"), (&place.any_property, Segment::AnyProperty, "map")];
        for (child, segment, what) in below {
            let Some(child) = child else { continue };
            let at = at.join(segment.clone());
            let inner: Vec<Slot> =
                branches.clone().filter_map(|slot| inside(slot, segment == Segment::Items)).collect();
            // Fields of a record that have no rule of their own are also meant by `{}`.
            let is_record = |slot| matches!(schema.type_at(slot), Some((Type::Record(_), _)));
            if inner.is_empty() && !(segment == Segment::AnyProperty && branches.clone().any(is_record)) {
                return Err((at, format!("the schema of the events has no {what} there")));
            }
            inner.into_iter().try_for_each(|slot| self.place(child, &at, slot))?;
        }
        Ok(())
    }

    fn types(&mut self, place: &Place, at: &Pattern, first: Slot) -> Result<(), (Pattern, String)> {
        if place.types == Types::ANY {
            return Ok(());
        }
        let schema = self.schema;
        let mut some = false;
        for slot in schema.branches(first) {
            let kind = schema.kind_at(slot);
            let allowed = crate::rules::allows(place.types, kind);
            some |= allowed && (kind != Kind::Null || schema.branches(first).len() == 1);
            let is_whole = matches!(schema.type_at(slot), Some((Type::Int | Type::Long, _)));
            let needs_whole = kind == Kind::Number && !place.types.has(Types::NUMBER) && !is_whole;
            self.is_implied &= allowed && !needs_whole;
        }
        if some {
            return Ok(());
        }
        let kinds: Vec<String> = schema.branches(first).map(|slot| word(schema.kind_at(slot)).to_owned()).collect();
        let reason = format!(
            "the schema of the events has {} there (as JSON shows it), which the contract's logicalType does not allow",
            kinds.join(" or ")
        );
        Err((at.clone(), reason))
    }
}

pub(in crate::binary) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "null",
        Kind::Bool => "a boolean",
        Kind::Number => "a number",
        Kind::String => "text",
        Kind::Array => "an array",
        Kind::Object => "an object",
    }
}
