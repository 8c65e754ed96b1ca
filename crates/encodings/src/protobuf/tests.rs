//! Messages and events in Protobuf: what is taken, what is refused, what is shown.

use super::*;
use crate::{Limits, Tree, varint};

fn field(number: u32, name: &str, kind: Kind, label: Label) -> Field {
    Field { number, name: name.into(), kind, label, oneof: None }
}

fn schema() -> Schema {
    let states = vec![(0, "UNKNOWN".into()), (2, "DONE".into())];
    let order = vec![
        field(1, "id", Kind::String, Label::Implicit),
        field(2, "qty", Kind::Sint64, Label::Implicit),
        field(3, "lines", Kind::Message(1), Label::Repeated),
        field(4, "labels", Kind::Message(2), Label::Map),
        field(5, "nums", Kind::Int32, Label::Repeated),
        field(6, "at", Kind::Message(3), Label::Optional),
        Field { oneof: Some(0), ..field(7, "a", Kind::String, Label::Optional) },
        Field { oneof: Some(0), ..field(8, "b", Kind::Bytes, Label::Optional) },
        field(9, "state", Kind::Enum(states), Label::Implicit),
        field(10, "price", Kind::Double, Label::Optional),
        field(11, "legacy", Kind::Group(1), Label::Optional),
    ];
    let line = vec![field(1, "sku", Kind::String, Label::Required), field(2, "ok", Kind::Bool, Label::Implicit)];
    let entry = vec![field(1, "key", Kind::String, Label::Implicit), field(2, "value", Kind::Int64, Label::Implicit)];
    let time = vec![field(1, "seconds", Kind::Int64, Label::Implicit), field(2, "nanos", Kind::Int32, Label::Implicit)];
    let message = |name: &str, fields| Message { name: name.into(), fields };
    let all = vec![
        message("acme.Order", order),
        message("acme.Line", line),
        message("acme.Order.LabelsEntry", entry),
        message("google.protobuf.Timestamp", time),
    ];
    Schema::new(all).unwrap()
}

fn counted(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::write(u64::from(number) << 3 | 2, &mut out);
    varint::write(bytes.len() as u64, &mut out);
    [out, bytes.to_vec()].concat()
}

fn order() -> Vec<u8> {
    let line = |sku: &str| counted(3, &[counted(1, sku.as_bytes()), vec![0x10, 1]].concat());
    [
        counted(1, b"o-1"),
        vec![0x10, 5],
        line("x"),
        counted(4, &[counted(1, b"color"), vec![0x10, 7]].concat()),
        line("y"),
        counted(5, &[1, 2, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]),
        vec![0x28, 9],
        counted(6, &[0x08, 1, 0x10, 0x80, 0xE8, 0xED, 0xA1, 0x02]),
        counted(8, &[0xFF, 0xFE]),
        vec![0x48, 2],
        vec![0x5B, 0x0A, 1, b'g', 0x5C],
        counted(99, b"unknown"),
    ]
    .concat()
}

fn shown(bytes: &[u8], defaults: bool) -> String {
    let (schema, mut tree, mut out) = (schema(), Tree::new(), Vec::new());
    schema.walk(bytes, &Limits::EVENT, &mut tree).unwrap();
    schema.write_json(bytes, &tree, defaults, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn an_event_is_shown_as_json_by_the_names_of_its_fields() {
    let expected = r#"{"id":"o-1","qty":-3,"lines":[{"sku":"x","ok":true},{"sku":"y","ok":true}],"labels":{"color":7},"nums":[1,2,-1,9],"at":"1970-01-01T00:00:FRACTION","b":"//4=","state":"DONE","legacy":{"sku":"g"}}"#;
    assert_eq!(shown(&order(), false), expected.replace("FRACTION", &fraction()));
    assert_eq!(shown(&[], false), "{}");
    assert_eq!(shown(&[], true), r#"{"id":"","qty":0,"lines":[],"labels":{},"nums":[],"state":"UNKNOWN"}"#);
}

fn fraction() -> String {
    let (nanos, _) = varint::read(&[0x80, 0xE8, 0xED, 0xA1, 0x02]).unwrap();
    format!("01.{}Z", format!("{nanos:09}").trim_end_matches('0'))
}

#[test]
fn what_is_cut_or_could_be_taken_differently_is_refused() {
    let (schema, mut tree) = (schema(), Tree::new());
    let mut refused = |bytes: &[u8], reason: &str| {
        let error = schema.walk(bytes, &Limits::EVENT, &mut tree).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert!(tree.node(0).is_none());
    };
    refused(&[0x0A], "does not end");
    refused(&[0x0A, 5, b'x'], "ends inside");
    refused(&[0x0A, 1, 0xFF], "UTF-8");
    refused(&[0x10, 1, 0x10, 2], "set twice");
    refused(&[counted(7, b"a"), counted(8, b"b")].concat(), "set twice");
    refused(&[counted(4, &counted(1, b"k")), counted(4, &counted(1, b"k"))].concat(), "this key twice");
    refused(&counted(4, &counted(3, b"k")), "more than a key");
    refused(&[0x5B, 0x0A, 1, b'g'], "does not end");
    refused(&[0x5C], "did not begin");
    refused(&[0x00, 0], "number that there is not");
    refused(&[0x17, 0], "type that there is not");
    refused(&counted(3, &[0x10, 2]), "0 or 1");
    refused(&[0x9B, 0x06].repeat(200), "nested");
    let many = counted(5, &[1; 2_000]);
    let limits = Limits { max_nodes: 100, ..Limits::EVENT };
    assert!(schema.walk(&many, &limits, &mut Tree::new()).is_ok(), "numbers that are written together are one value");
    let unknown = [0xF8, 0x06, 1].repeat(200);
    assert!(schema.walk(&unknown, &limits, &mut Tree::new()).is_err());
}

#[test]
fn a_required_field_that_is_left_out_has_its_least_value() {
    let schema = schema();
    let sku = schema.named(1, "sku").unwrap();
    assert_eq!(schema.absent(sku), [0x0A, 0]);
    assert_eq!(schema.redacted(sku), b"\x0A\x03***");
    let lines = schema.named(0, "lines").unwrap();
    assert_eq!(schema.absent(lines), b"");
    assert_eq!(schema.redacted(lines), [0x1A, 2, 0x0A, 0]);
    let itself = vec![field(1, "r", Kind::Message(0), Label::Required)];
    assert!(Schema::new(vec![Message { name: "R".into(), fields: itself }]).is_err());
    let nowhere = vec![field(1, "r", Kind::Message(7), Label::Optional)];
    assert!(Schema::new(vec![Message { name: "R".into(), fields: nowhere }]).is_err());
}

fn resolved(reader: &Schema, writer: &Schema, event: &[u8]) -> Result<Vec<u8>, crate::Unresolved> {
    let mut tree = Tree::new();
    writer.walk(event, &Limits::EVENT, &mut tree).unwrap();
    let mut out = b"before".to_vec();
    let done = reader.resolve(writer, event, &tree, &mut out);
    assert!(out.starts_with(b"before") && (done.is_ok() || out.len() == 6));
    done.map(|()| out.split_off(6))
}

#[test]
fn an_event_of_a_later_version_is_brought_into_the_form_of_an_earlier_one_or_not_at_all() {
    let message = |name: &str, fields| Message { name: name.into(), fields };
    let line = |fields| message("acme.Line", fields);
    let sku = || field(1, "sku", Kind::String, Label::Implicit);
    let earlier = |id: Kind, label| {
        let order = vec![field(1, "id", id, label), field(3, "lines", Kind::Message(1), Label::Repeated)];
        Schema::new(vec![message("acme.Order", order), line(vec![sku()])]).unwrap()
    };
    let order = vec![
        field(1, "id", Kind::String, Label::Implicit),
        field(2, "note", Kind::String, Label::Implicit),
        field(3, "lines", Kind::Message(1), Label::Repeated),
    ];
    let later = vec![message("acme.Order", order), line(vec![sku(), field(2, "color", Kind::String, Label::Implicit)])];
    let later = Schema::new(later).unwrap();
    let event = [
        counted(1, b"o-1"),
        counted(2, b"new"),
        counted(3, &[counted(1, b"x"), counted(2, b"red")].concat()),
        counted(3, &counted(2, b"blue")),
        counted(77, b"unknown"),
    ];
    let event = event.concat();
    let expected = [counted(1, b"o-1"), counted(3, &counted(1, b"x")), counted(3, b"")].concat();
    assert_eq!(resolved(&earlier(Kind::String, Label::Implicit), &later, &event).unwrap(), expected);
    assert_eq!(resolved(&earlier(Kind::Bytes, Label::Implicit), &later, &event).unwrap(), expected);
    for (kind, label) in [(Kind::Int64, Label::Implicit), (Kind::String, Label::Repeated)] {
        assert!(resolved(&earlier(kind, label), &later, &event).is_err());
    }
    let required = earlier(Kind::String, Label::Required);
    assert!(resolved(&required, &later, &counted(2, b"only")).is_err(), "what is required is missing");
    let itself = schema();
    let whole = order_without_unknown();
    assert_eq!(resolved(&itself, &itself, &whole).unwrap(), whole, "groups, maps, times and packed numbers stay");
}

fn order_without_unknown() -> Vec<u8> {
    let mut whole = order();
    whole.truncate(whole.len() - counted(99, b"unknown").len());
    whole
}
