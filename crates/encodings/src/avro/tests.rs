//! Avro schemas and events: what is taken, what is refused, what is shown.

use super::*;
use crate::{Limits, Tree, varint};

const ORDER: &str = r#"{"type":"record","name":"acme.Order","fields":[
  {"name":"id","type":"string"},
  {"name":"due","type":{"type":"int","logicalType":"date"}},
  {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
  {"name":"customer","type":["null",{"type":"record","name":"Person","fields":[
     {"name":"email","type":"string"},{"name":"friend","type":["null","Person"]}]}],"default":null},
  {"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
     {"name":"sku","type":"string"},{"name":"qty","type":"long","default":7}]}}},
  {"name":"labels","type":{"type":"map","values":["string","null"]}},
  {"name":"state","type":{"type":"enum","name":"State","symbols":["OPEN","DONE"],"default":"DONE"}}]}"#;

fn text(text: &str, out: &mut Vec<u8>) {
    varint::write_signed(text.len() as i64, out);
    out.extend_from_slice(text.as_bytes());
}

/// An order with two lines; `sized` writes the blocks with their sizes.
fn order(sized: bool) -> Vec<u8> {
    let mut out = Vec::new();
    text("o-1", &mut out);
    varint::write_signed(20_000, &mut out);
    out.extend_from_slice(&[4, 0xFF, 0x85]);
    out.push(2);
    text("a@b.c", &mut out);
    out.push(0);
    let mut lines = Vec::new();
    for sku in ["x", "y"] {
        text(sku, &mut lines);
        varint::write_signed(3, &mut lines);
    }
    if sized {
        varint::write_signed(-2, &mut out);
        varint::write_signed(lines.len() as i64, &mut out);
    } else {
        varint::write_signed(2, &mut out);
    }
    out.extend(lines);
    out.push(0);
    varint::write_signed(1, &mut out);
    text("color", &mut out);
    out.push(0);
    text("red", &mut out);
    out.push(0);
    out.push(0);
    out
}

fn shown(schema: &Schema, bytes: &[u8]) -> String {
    let mut tree = Tree::new();
    schema.walk(bytes, &Limits::EVENT, &mut tree).unwrap();
    let mut out = Vec::new();
    schema.write_json(bytes, &tree, &[], &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn an_event_is_shown_as_json_with_unions_transparent() {
    let schema = Schema::parse(ORDER).unwrap();
    let expected = r#"{"id":"o-1","due":"2024-10-04","price":-1.23,"customer":{"email":"a@b.c","friend":null},"lines":[{"sku":"x","qty":3},{"sku":"y","qty":3}],"labels":{"color":"red"},"state":"OPEN"}"#;
    assert_eq!(shown(&schema, &order(false)), expected);
    assert_eq!(shown(&schema, &order(true)), expected);
}

#[test]
fn every_byte_belongs_to_a_value_and_what_is_cut_changed_or_added_is_refused() {
    let schema = Schema::parse(ORDER).unwrap();
    let mut tree = Tree::new();
    for bytes in [order(false), order(true)] {
        for len in 0..bytes.len() {
            assert!(schema.walk(&bytes[..len], &Limits::EVENT, &mut tree).is_err(), "{len}");
            assert!(tree.node(0).is_none());
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(schema.walk(&longer, &Limits::EVENT, &mut tree).is_err());
    }
}

#[test]
fn a_count_that_is_claimed_allocates_nothing_and_ends() {
    let nulls = Schema::parse(r#"{"type":"array","items":"null"}"#).unwrap();
    for count in [i64::MAX, i64::MIN, -5] {
        let mut bytes = Vec::new();
        varint::write_signed(count, &mut bytes);
        bytes.extend_from_slice(&[0, 0]);
        let mut tree = Tree::new();
        let walked = nulls.walk(&bytes, &Limits { max_nodes: 1_000, ..Limits::EVENT }, &mut tree);
        assert_eq!(walked.is_ok(), count == -5, "{count}");
        assert!(tree.nodes.capacity() < 4_096);
    }
}

#[test]
fn what_two_readers_could_take_differently_is_refused() {
    let refused = |schema: &str, bytes: &[u8], reason: &str| {
        let error = Schema::parse(schema).unwrap().walk(bytes, &Limits::EVENT, &mut Tree::new()).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    };
    refused(r#"{"type":"map","values":"null"}"#, &[4, 2, b'a', 2, b'a', 0], "twice");
    refused(r#""boolean""#, &[2], "0 or 1");
    refused(r#""string""#, &[2, 0xFF], "UTF-8");
    refused(r#""string""#, &[1], "negative");
    refused(r#"["null","int"]"#, &[4], "no branch");
    refused(r#"{"type":"enum","name":"E","symbols":["A"]}"#, &[2], "no symbol");
    refused(r#""int""#, &[0x80, 0x80, 0x80, 0x80, 0x80, 0x01], "32 bits");
    refused(r#"{"type":"array","items":"int"}"#, &[1, 4, 2, 0], "size");
    refused(r#"{"type":"array","items":"int"}"#, &[1, 1, 2, 0], "negative");
    let deep = r#"{"type":"record","name":"N","fields":[{"name":"n","type":["null","N"]}]}"#;
    refused(deep, &[2; 200], "nested");
}

#[test]
fn what_stands_for_nothing_is_null_then_the_default_then_the_least_value() {
    let schema = Schema::parse(ORDER).unwrap();
    let Some((Type::Record(fields), _)) = schema.type_at(0) else { panic!("a record") };
    let absent = |name: &str| {
        let field = fields.iter().find(|field| &*field.name == name).unwrap();
        schema.position(field.slot).unwrap().absent().to_vec()
    };
    assert_eq!(absent("id"), [0]);
    assert_eq!(absent("price"), [2, 0]);
    assert_eq!(absent("customer"), [0]);
    assert_eq!(absent("lines"), [0]);
    assert_eq!(absent("state"), [2], "the symbol for what is not known");
    let Some((Type::Array(items), _)) = schema.type_at(fields[4].slot) else { panic!("an array") };
    assert_eq!(schema.position(*items).unwrap().absent(), [0, 0]);
    let Some((Type::Record(line), _)) = schema.type_at(*items) else { panic!("a record") };
    assert_eq!(schema.position(line[1].slot).unwrap().absent(), [14], "its default");
    assert_eq!(schema.position(fields[0].slot).unwrap().redacted(), b"\x06***");
    // Whatever stands for an event is an event.
    shown(&schema, schema.position(0).unwrap().absent());
}

#[test]
fn a_schema_that_cannot_be_meant_is_refused_with_its_place() {
    let cases = [
        (r#"{"type":"record","name":"a.R","fields":[{"name":"x","type":"Y"}]}"#, "a.R.x: names the type a.Y"),
        (r#"{"type":"record","name":"R","fields":[{"name":"x","type":"int"},{"name":"x","type":"int"}]}"#, "twice"),
        (r#"{"type":"record","name":"R","fields":[{"name":"x","type":"int","default":"1"}]}"#, "R.x: its `default`"),
        (r#"{"type":"record","name":"R","fields":[{"name":"r","type":"R"}]}"#, "R: holds a value of itself"),
        (r#"{"type":"record","name":"1R","fields":[]}"#, "no name"),
        (r#"{"type":"record","name":"R"}"#, "fields"),
        (r#"["int","int"]"#, "two branches"),
        (r#"["int",["null"]]"#, "cannot be a union"),
        (r#"{"type":"enum","name":"E","symbols":["A","A"]}"#, "each once"),
        (r#"{"type":"fixed","name":"F","size":99999999}"#, "size"),
        (r#"{"type":"bytes","logicalType":"decimal","precision":1,"scale":2}"#, "precision"),
        (r#"{"type":"array"}"#, "items"),
        ("{", "not JSON"),
        ("7", "a schema is"),
    ];
    for (text, expected) in cases {
        let error = Schema::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} should say {expected}");
    }
    let mut doubling = r#"{"type":"fixed","name":"F0","size":1000}"#.to_owned();
    for level in 1..30 {
        let below = level - 1;
        doubling = format!(
            r#"{{"type":"record","name":"F{level}","fields":[{{"name":"a","type":{doubling}}},{{"name":"b","type":"F{below}"}}]}}"#
        );
    }
    assert!(Schema::parse(&doubling).unwrap_err().to_string().contains("more than 16384 bytes"));
    assert!(
        Schema::parse(&format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(100), "}".repeat(100))).is_err()
    );
}

#[test]
fn schemas_with_equal_bytes_have_one_canonical_form_and_readers_get_no_remarks() {
    let a = r#"{"type":"record","name":"R","namespace":"a","doc":"secret plans","fields":[
        {"name":"x","type":{"type":"int"},"doc":"hush","default":1,"aliases":["y"]},{"name":"next","type":["null","R"]}]}"#;
    let b =
        r#"{"name":"a.R","fields":[{"type":"int","name":"x"},{"name":"next","type":["null","a.R"]}],"type":"record"}"#;
    let (a, b) = (Schema::parse(a).unwrap(), Schema::parse(b).unwrap());
    assert_eq!(a.canonical(), b.canonical());
    assert_eq!(Schema::parse(&a.canonical()).unwrap().canonical(), a.canonical());
    let given = a.for_readers(|_| Some("Left out."));
    assert!(!given.contains("hush") && !given.contains("secret") && !given.contains("aliases"), "{given}");
    assert!(given.contains(r#""default":1"#) && given.contains("Left out."));
    assert_ne!(Schema::parse(r#""int""#).unwrap().canonical(), Schema::parse(r#""long""#).unwrap().canonical());
}

#[test]
fn a_schema_may_name_what_others_define() {
    let person = r#"{"type":"record","name":"a.Person","fields":[{"name":"n","type":"string"}]}"#;
    let order = r#"{"type":"record","name":"a.Order","fields":[{"name":"p","type":"Person"}]}"#;
    let schema = Schema::parse_with(order, &[person]).unwrap();
    let whole =
        Schema::parse(&format!(r#"{{"type":"record","name":"a.Order","fields":[{{"name":"p","type":{person}}}]}}"#));
    assert_eq!(schema.canonical(), whole.unwrap().canonical());
    assert!(Schema::parse(order).is_err());
}

#[test]
fn numbers_and_times_are_shown_with_all_their_digits() {
    let cases: [(&str, &[u8], &str); 12] = [
        (
            r#"{"type":"long","logicalType":"timestamp-millis"}"#,
            &[0x80, 0x80, 0x80, 0x80, 0x20],
            r#""1970-02-19T17:02:47.296Z""#,
        ),
        (r#"{"type":"long","logicalType":"local-timestamp-micros"}"#, &[1], r#""1969-12-31T23:59:59.999999""#),
        (r#"{"type":"int","logicalType":"time-millis"}"#, &[0xB8, 0xE8, 0xC3, 0x20], r#""09:28:29.98""#),
        (r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":3}"#, &[2, 0x80], "-0.128"),
        (r#"{"type":"bytes","logicalType":"decimal","precision":4}"#, &[4, 0x00, 0x80], "128"),
        (r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#, &[2, 0], "0.00"),
        (r#"{"type":"bytes","logicalType":"big-decimal"}"#, &[6, 2, 0x7B, 4], "1.23"),
        (r#""double""#, &[0, 0, 0, 0, 0, 0, 0xF0, 0x7F], r#""Infinity""#),
        (r#""double""#, &[0x9C, 0x75, 0, 0x88, 0x3C, 0xE4, 0x37, 0x7E], "1e300"),
        (r#""float""#, &[0xCD, 0xCC, 0xCC, 0x3D], "0.1"),
        (r#""bytes""#, &[4, 0xFF, 0xFE], r#""//4=""#),
        (
            r#"{"type":"fixed","name":"D","size":12,"logicalType":"duration"}"#,
            &[1, 0, 0, 0, 2, 0, 0, 0, 0xDC, 5, 0, 0],
            r#""P1M2DT1.500S""#,
        ),
    ];
    for (schema, bytes, expected) in cases {
        let schema = Schema::parse(schema).unwrap();
        let json = shown(&schema, bytes);
        if schema.kind_at(0) == tradelane_tape::Kind::Number && json.starts_with("1e") {
            assert!((json.parse::<f64>().unwrap() - 1e300).abs() < 1e299);
        } else {
            assert_eq!(json, expected);
        }
    }
}

fn resolved(reader: &str, writer: &str, event: &[u8]) -> Result<Vec<u8>, crate::Unresolved> {
    let (reader, writer) = (Schema::parse(reader).unwrap(), Schema::parse(writer).unwrap());
    let mut tree = Tree::new();
    writer.walk(event, &Limits::EVENT, &mut tree).unwrap();
    let mut out = b"before".to_vec();
    let done = reader.resolve(&writer, event, &tree, &mut out);
    assert!(out.starts_with(b"before") && (done.is_ok() || out.len() == 6));
    let out = done.map(|()| out.split_off(6))?;
    reader.walk(&out, &Limits::EVENT, &mut tree).unwrap();
    Ok(out)
}

#[test]
fn an_event_is_an_event_of_its_own_schema_whatever_its_blocks() {
    assert_eq!(resolved(ORDER, ORDER, &order(false)).unwrap(), order(false));
    assert_eq!(resolved(ORDER, ORDER, &order(true)).unwrap(), order(false));
}

#[test]
fn an_event_of_a_later_version_is_brought_into_the_form_of_an_earlier_one() {
    let earlier = r#"{"type":"record","name":"old.Order","fields":[
      {"name":"state","type":{"type":"enum","name":"State","symbols":["NEW","ELSE"],"default":"ELSE"}},
      {"name":"unit","type":["null","string"],"default":null},
      {"name":"positions","aliases":["lines"],"type":{"type":"array","items":{"type":"record","name":"Line","fields":[
         {"name":"qty","type":["string","double"]},{"name":"each","type":"int","default":1}]}}},
      {"name":"id","type":["null","bytes","string"]}]}"#;
    let shown_as = shown(&Schema::parse(earlier).unwrap(), &resolved(earlier, ORDER, &order(true)).unwrap());
    let expected = r#"{"state":"ELSE","unit":null,"positions":[{"qty":3.0,"each":1},{"qty":3.0,"each":1}],"id":"o-1"}"#;
    assert_eq!(shown_as.replace("3.0", "3"), expected.replace("3.0", "3"));
}

#[test]
fn types_of_one_name_in_several_namespaces_are_told_apart() {
    let one = |space: &str, field: &str| {
        format!(r#"{{"type":"record","name":"{space}.X","fields":[{{"name":"{field}","type":"string"}}]}}"#)
    };
    let union = format!("[{},{}]", one("a", "p"), one("b", "p"));
    let event = [2, 2, b'v'];
    assert_eq!(resolved(&union, &union, &event).unwrap(), event);
    assert_eq!(resolved(&one("c", "p"), &union, &event).unwrap(), [2, b'v']);
}

#[test]
fn what_does_not_fit_an_earlier_version_is_not_brought_into_it() {
    let with = |field: &str| format!(r#"{{"type":"record","name":"Order","fields":[{field}]}}"#);
    for field in [
        r#"{"name":"id","type":"long"}"#,
        r#"{"name":"unit","type":["null","string"]}"#,
        r#"{"name":"due","type":{"type":"int","logicalType":"time-millis"}}"#,
        r#"{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":3}}"#,
        r#"{"name":"price","type":"string"}"#,
        r#"{"name":"state","type":{"type":"enum","name":"State","symbols":["NEW"]}}"#,
        r#"{"name":"state","type":{"type":"enum","name":"Other","symbols":["OPEN"]}}"#,
        r#"{"name":"labels","type":{"type":"map","values":"null"}}"#,
    ] {
        assert!(resolved(&with(field), ORDER, &order(false)).is_err(), "{field}");
    }
    // Each line would get another 16,000 bytes: more than an event may have, whatever the event has.
    let filler = "x".repeat(16_000);
    let large = with(&format!(
        r#"{{"name":"lines","type":{{"type":"array","items":{{"type":"record","name":"Line","fields":[{{"name":"fill","type":"string","default":"{filler}"}}]}}}}}}"#
    ));
    let writer =
        with(r#"{"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[]}}}"#);
    let count = Limits::EVENT.max_nodes as i64 - 100;
    let mut event = Vec::new();
    varint::write_signed(count, &mut event);
    event.push(0);
    assert!(resolved(&large, &writer, &event).is_err());
}
