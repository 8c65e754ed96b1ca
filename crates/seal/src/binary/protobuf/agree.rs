//! Whether a contract and its Protobuf schema speak of the same things.

use tradelane_encodings::Slot;
use tradelane_encodings::protobuf::{Kind as Holds, Label, Schema};
use tradelane_model::pattern::{Pattern, Segment};
use tradelane_model::shape::{Place, Shape, Types};
use tradelane_tape::Kind;

use crate::binary::Agreement;
use crate::binary::avro::word;

pub(in crate::binary) fn agree(schema: &Schema, shape: &Shape) -> Result<Agreement, (Pattern, String)> {
    let mut checker = Checker { schema, is_implied: true };
    checker.message(&shape.root, &Pattern::default(), 0)?;
    Ok(Agreement { is_implied: checker.is_implied })
}

struct Checker<'c> {
    schema: &'c Schema,
    is_implied: bool,
}

type Checked = Result<(), (Pattern, String)>;

impl Checker<'_> {
    fn message(&mut self, place: &Place, at: &Pattern, message: u32) -> Checked {
        for (name, child) in &place.properties {
            let below = at.join(Segment::Property(name.clone()));
            match self.schema.named(message, name) {
                Some(slot) => self.field(child, &below, slot)?,
                None => return Err((below, "the schema of the events has no such field".into())),
            }
        }
        match &place.items {
            Some(_) => Err((at.join(Segment::Items), "the schema of the events has no list there".into())),
            None => Ok(()),
        }
    }

    fn field(&mut self, place: &Place, at: &Pattern, slot: Slot) -> Checked {
        let Some(field) = self.schema.field(slot) else { return Ok(()) };
        let can_lack = matches!(field.label, Label::Optional);
        self.is_implied &= !(place.required && can_lack);
        match field.label {
            Label::Repeated => {
                self.types(place.types, at, Kind::Array, slot)?;
                let below = at.join(Segment::Items);
                match &place.items {
                    Some(items) => self.value(items, &below, slot),
                    None if place.is_leaf() => Ok(()),
                    None => Err((at.clone(), "the schema of the events has a list there".into())),
                }
            }
            Label::Map => {
                self.types(place.types, at, Kind::Object, slot)?;
                let Some(value) = self.schema.map_value(slot) else { return Ok(()) };
                for (name, child) in &place.properties {
                    self.is_implied &= !child.required;
                    self.value(child, &at.join(Segment::Property(name.clone())), value)?;
                }
                if let Some(any) = &place.any_property {
                    self.value(any, &at.join(Segment::AnyProperty), value)?;
                }
                Ok(())
            }
            _ => self.value(place, at, slot),
        }
    }

    /// One value: a message with its fields, or a scalar.
    fn value(&mut self, place: &Place, at: &Pattern, slot: Slot) -> Checked {
        let kind = self.schema.kind_at(slot);
        self.types(place.types, at, kind, slot)?;
        match self.schema.message_at(slot).filter(|_| kind == Kind::Object) {
            Some(message) => self.message(place, at, message),
            None if place.is_leaf() => Ok(()),
            None => Err((at.clone(), format!("the schema of the events has {} there", word(kind)))),
        }
    }

    fn types(&mut self, types: Types, at: &Pattern, kind: Kind, slot: Slot) -> Checked {
        if types == Types::ANY {
            return Ok(());
        }
        let has_fraction =
            matches!(self.schema.field(slot).map(|field| &field.kind), Some(Holds::Float | Holds::Double));
        self.is_implied &= !(kind == Kind::Number && has_fraction && !types.has(Types::NUMBER));
        if crate::rules::allows(types, kind) {
            return Ok(());
        }
        let reason = format!(
            "the schema of the events has {} there (as JSON shows it), which the contract's logicalType does not allow",
            word(kind)
        );
        Err((at.clone(), reason))
    }
}
