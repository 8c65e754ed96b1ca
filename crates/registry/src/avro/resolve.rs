//! Can a reader with one Avro schema read what was written with another?
//!
//! Source: Apache Avro 1.12.0 Specification, "Schema Resolution"; the names and places of what does not fit are those of
//! Java's `SchemaCompatibility`, which Confluent's registry answers with. As there, the last part of names must be equal, or
//! an alias of the reader's the writer's full name. A `decimal` is read as one of another scale nowhere here, although
//! libraries do so silently.

use std::collections::BTreeSet;

use super::{AvroSchema, Decimal, Field, Name, Primitive, Type, TypeId};
use crate::SchemaProblem;
use crate::difference::{Difference, MAX_TOLD};

/// How deep pairs of types may nest.
const MAX_DEPTH: usize = 200;

/// What keeps `update` from reading what `original` wrote. `steps` is how many pairs of types may still be looked at.
pub(crate) fn compare(
    original: &AvroSchema,
    update: &AvroSchema,
    steps: &mut usize,
) -> Result<Vec<Difference>, SchemaProblem> {
    let mut resolver = Resolver {
        writer: original,
        reader: update,
        steps: *steps,
        depth: 0,
        reads: BTreeSet::new(),
        order: Vec::new(),
    };
    let mut found = Vec::new();
    let done = resolver.pair(update.root, original.root, "", &mut found);
    *steps = resolver.steps;
    done.map(|()| found)
}

struct Resolver<'a> {
    writer: &'a AvroSchema,
    reader: &'a AvroSchema,
    /// Left.
    steps: usize,
    depth: usize,
    /// Pairs that are being looked at, or fit as far as those do: a recursive schema meets itself again.
    reads: BTreeSet<(TypeId, TypeId)>,
    /// They in the order in which they came.
    order: Vec<(TypeId, TypeId)>,
}

type Done = Result<(), SchemaProblem>;

fn tell(found: &mut Vec<Difference>, kind: &'static str, at: String, what: String) {
    if found.len() < MAX_TOLD {
        found.push(Difference { kind, at, is_compatible: false, what });
    }
}

fn root(at: &str) -> String {
    if at.is_empty() { "/".to_owned() } else { at.to_owned() }
}

impl<'a> Resolver<'a> {
    fn pair(&mut self, reader: TypeId, writer: TypeId, at: &str, found: &mut Vec<Difference>) -> Done {
        if self.depth > MAX_DEPTH {
            return Err(SchemaProblem::TooComplex);
        }
        self.steps = self.steps.checked_sub(1).ok_or(SchemaProblem::TooComplex)?;
        if !self.reads.insert((reader, writer)) {
            return Ok(());
        }
        let before = self.order.len();
        self.order.push((reader, writer));
        let told = found.len();
        self.depth += 1;
        self.types(reader, writer, at, found)?;
        self.depth -= 1;
        if found.len() > told {
            // What was found to fit since then may have leant on this pair.
            for pair in self.order.drain(before..) {
                self.reads.remove(&pair);
            }
        }
        Ok(())
    }

    fn fits(&mut self, reader: TypeId, writer: TypeId) -> Result<bool, SchemaProblem> {
        let mut found = Vec::new();
        self.pair(reader, writer, "", &mut found)?;
        Ok(found.is_empty())
    }

    fn types(&mut self, reader: TypeId, writer: TypeId, at: &str, found: &mut Vec<Difference>) -> Done {
        let (read, written) = (self.reader.get(reader)?, self.writer.get(writer)?);
        match (read, written) {
            (Type::Union(_), Type::Union(branches)) => {
                for (index, branch) in branches.iter().enumerate() {
                    if !self.fits(reader, *branch)? {
                        let what = format!("reader union lacking writer type: {}", name_of(self.writer.get(*branch)?));
                        tell(found, "MISSING_UNION_BRANCH", format!("{at}/{index}"), what);
                    }
                }
                Ok(())
            }
            (_, Type::Union(branches)) => branches.iter().try_for_each(|branch| self.pair(reader, *branch, at, found)),
            (Type::Union(branches), _) => {
                for branch in branches {
                    if self.fits(*branch, writer)? {
                        return Ok(());
                    }
                }
                let what = format!("reader union lacking writer type: {}", name_of(written));
                tell(found, "MISSING_UNION_BRANCH", root(at), what);
                Ok(())
            }
            (Type::Array(read), Type::Array(written)) => self.pair(*read, *written, &format!("{at}/items"), found),
            (Type::Map(read), Type::Map(written)) => self.pair(*read, *written, &format!("{at}/values"), found),
            (Type::Primitive(to, scale), Type::Primitive(from, other)) => {
                if !promotes(*from, *to) {
                    mismatch(read, written, at, found);
                } else {
                    decimals(*scale, *other, at, found);
                }
                Ok(())
            }
            (
                Type::Fixed { name, aliases, size, decimal },
                Type::Fixed { name: other, size: other_size, decimal: other_decimal, .. },
            ) => {
                names(name, aliases, other, at, found);
                if size != other_size {
                    let what = format!("expected: {other_size}, found: {size}");
                    tell(found, "FIXED_SIZE_MISMATCH", format!("{at}/size"), what);
                }
                decimals(*decimal, *other_decimal, at, found);
                Ok(())
            }
            (Type::Enum { name, aliases, symbols, default }, Type::Enum { name: other, symbols: written, .. }) => {
                names(name, aliases, other, at, found);
                let missing: Vec<&str> =
                    written.iter().filter(|symbol| !symbols.contains(symbol)).map(String::as_str).collect();
                if default.is_none() && !missing.is_empty() {
                    tell(found, "MISSING_ENUM_SYMBOLS", format!("{at}/symbols"), format!("[{}]", missing.join(", ")));
                }
                Ok(())
            }
            (Type::Record { name, aliases, fields }, Type::Record { name: other, fields: written, .. }) => {
                names(name, aliases, other, at, found);
                self.fields(fields, written, at, found)
            }
            _ => {
                mismatch(read, written, at, found);
                Ok(())
            }
        }
    }

    fn fields(&mut self, read: &'a [Field], written: &'a [Field], at: &str, found: &mut Vec<Difference>) -> Done {
        for (index, field) in read.iter().enumerate() {
            let by = |name: &String| written.iter().find(|other| other.name == *name);
            // A name wins over an alias.
            match by(&field.name).or_else(|| field.aliases.iter().find_map(by)) {
                Some(other) => self.pair(field.kind, other.kind, &format!("{at}/fields/{index}/type"), found)?,
                None if field.default.is_some() => {}
                None => {
                    let place = format!("{at}/fields/{index}");
                    tell(found, "READER_FIELD_MISSING_DEFAULT_VALUE", place, field.name.clone());
                }
            }
        }
        Ok(())
    }
}

fn promotes(from: Primitive, to: Primitive) -> bool {
    use Primitive::{Bytes, Double, Float, Int, Long, String};
    from == to
        || matches!(
            (from, to),
            (Int, Long | Float | Double) | (Long, Float | Double) | (Float, Double) | (String, Bytes) | (Bytes, String)
        )
}

fn decimals(read: Option<Decimal>, written: Option<Decimal>, at: &str, found: &mut Vec<Difference>) {
    if let (Some(read), Some(written)) = (read, written)
        && read != written
    {
        let say = |decimal: Decimal| format!("DECIMAL({},{})", decimal.precision, decimal.scale);
        let what = format!("reader type: {} not compatible with writer type: {}", say(read), say(written));
        tell(found, "TYPE_MISMATCH", root(at), what);
    }
}

fn names(reader: &Name, aliases: &[Name], writer: &Name, at: &str, found: &mut Vec<Difference>) {
    if reader.last() != writer.last() && !aliases.contains(writer) {
        tell(found, "NAME_MISMATCH", format!("{at}/name"), format!("expected: {}", writer.full()));
    }
}

fn mismatch(read: &Type, written: &Type, at: &str, found: &mut Vec<Difference>) {
    let what = format!("reader type: {} not compatible with writer type: {}", name_of(read), name_of(written));
    tell(found, "TYPE_MISMATCH", root(at), what);
}

fn name_of(kind: &Type) -> String {
    match kind {
        Type::Primitive(primitive, _) => primitive.as_str().to_uppercase(),
        Type::Array(_) => "ARRAY".into(),
        Type::Map(_) => "MAP".into(),
        Type::Union(_) => "UNION".into(),
        Type::Enum { .. } => "ENUM".into(),
        Type::Fixed { .. } => "FIXED".into(),
        Type::Record { .. } => "RECORD".into(),
    }
}
