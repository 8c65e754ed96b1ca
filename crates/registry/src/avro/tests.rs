//! Avro schemas: what is taken, in which form, and which changes break readers.

use super::*;

fn parse(text: &str) -> AvroSchema {
    AvroSchema::parse(text, &[]).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What keeps a reader with the new schema from reading what was written with the old one.
fn from_to(old: &str, new: &str) -> Vec<String> {
    let told = compare(&parse(old), &parse(new), &mut 50_000).unwrap();
    told.into_iter().map(|c| format!("{} {} {}", c.kind, c.at, c.what)).collect()
}

#[track_caller]
fn fine(old: &str, new: &str) {
    assert_eq!(from_to(old, new), Vec::<String>::new(), "{old} -> {new}");
}

#[track_caller]
fn breaks(old: &str, new: &str, told: &str) {
    assert_eq!(from_to(old, new), [told], "{old} -> {new}");
}

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
}

const A: &str = r#"{"name":"a","type":"string"}"#;

#[test]
fn a_field_is_added_with_a_default_and_removed_at_will() {
    let two = |more: &str| record(&format!("{A},{more}"));
    fine(&record(A), &two(r#"{"name":"b","type":"int","default":0}"#));
    fine(&record(A), &two(r#"{"name":"b","type":["null","int"],"default":null}"#));
    fine(&two(r#"{"name":"b","type":"int"}"#), &record(A));
    breaks(&record(A), &two(r#"{"name":"b","type":"int"}"#), "READER_FIELD_MISSING_DEFAULT_VALUE /fields/1 b");
    fine(&record(A), &record(r#"{"name":"b","aliases":["a"],"type":"string"}"#));
    breaks(
        &record(A),
        &record(r#"{"name":"a","type":"int"}"#),
        "TYPE_MISMATCH /fields/0/type reader type: INT not compatible with writer type: STRING",
    );
}

#[test]
fn primitives_are_promoted_in_one_direction() {
    let ladder = ["int", "long", "float", "double"];
    let all = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
    for from in all {
        for to in all {
            let rank = |name: &str| ladder.iter().position(|known| *known == name);
            let is_up = matches!((rank(from), rank(to)), (Some(from), Some(to)) if from <= to);
            let is_text = ["bytes", "string"].contains(&from) && ["bytes", "string"].contains(&to);
            let told = from_to(&format!("\"{from}\""), &format!("\"{to}\""));
            assert_eq!(told.is_empty(), from == to || is_up || is_text, "{from} -> {to}: {told:?}");
        }
    }
    fine(r#"{"type":"array","items":"int"}"#, r#"{"type":"array","items":"double"}"#);
    breaks(
        r#"{"type":"map","values":"double"}"#,
        r#"{"type":"map","values":"int"}"#,
        "TYPE_MISMATCH /values reader type: INT not compatible with writer type: DOUBLE",
    );
}

#[test]
fn a_union_takes_more_and_never_less() {
    fine(r#""int""#, r#"["null","int"]"#);
    fine(r#""int""#, r#"["null","double"]"#);
    fine(r#"["int"]"#, r#""long""#);
    fine(r#"["int","null"]"#, r#"["null","int","string"]"#);
    breaks(r#"["null","int"]"#, r#"["null"]"#, "MISSING_UNION_BRANCH /1 reader union lacking writer type: INT");
    breaks(r#""int""#, r#"["null","string"]"#, "MISSING_UNION_BRANCH / reader union lacking writer type: INT");
    breaks(r#"["null","int"]"#, r#""int""#, "TYPE_MISMATCH / reader type: INT not compatible with writer type: NULL");
}

#[test]
fn named_types_keep_name_size_and_symbols() {
    let one = |rest: &str| format!(r#"{{"type":"enum","name":"E",{rest}}}"#);
    let (ab, abc) = (one(r#""symbols":["A","B"]"#), one(r#""symbols":["A","B","C"]"#));
    fine(&ab, &abc);
    breaks(&abc, &ab, "MISSING_ENUM_SYMBOLS /symbols [C]");
    fine(&abc, &one(r#""symbols":["A","B"],"default":"A""#));
    let fixed = |name: &str, size: u32| format!(r#"{{"type":"fixed","name":"{name}","size":{size}}}"#);
    breaks(&fixed("F", 4), &fixed("F", 8), "FIXED_SIZE_MISMATCH /size expected: 4, found: 8");
    breaks(&fixed("F", 4), &fixed("G", 4), "NAME_MISMATCH /name expected: F");
    fine(&fixed("a.F", 4), &fixed("b.F", 4));
    fine(&fixed("a.F", 4), r#"{"type":"fixed","name":"b.G","aliases":["a.F"],"size":4}"#);
    let money = |precision: u32, scale: u32| {
        format!(r#"{{"type":"bytes","logicalType":"decimal","precision":{precision},"scale":{scale}}}"#)
    };
    fine(&money(9, 2), &money(9, 2));
    fine(&money(9, 2), r#""bytes""#);
    breaks(
        &money(9, 2),
        &money(9, 4),
        "TYPE_MISMATCH / reader type: DECIMAL(9,4) not compatible with writer type: DECIMAL(9,2)",
    );
}

#[test]
fn recursive_and_entangled_schemas_end() {
    let tree = |more: &str| {
        format!(
            r#"{{"type":"record","name":"T","fields":[{{"name":"left","type":["null","T"]}},{{"name":"right","type":["null","T"]}},{{"name":"v","type":"{more}"}}]}}"#
        )
    };
    fine(&tree("int"), &tree("long"));
    // A union tries its branches without telling what keeps each of them.
    assert!(!from_to(&tree("long"), &tree("int")).is_empty());
    // Each level is used twice by the next: 2^40 ways lead to the end.
    let mut levels = r#"{"type":"record","name":"L0","fields":[]}"#.to_owned();
    let mut list = vec![format!(r#"{{"name":"f0","type":{levels}}}"#)];
    for level in 1..40 {
        let before = level - 1;
        levels = format!(
            r#"{{"type":"record","name":"L{level}","fields":[{{"name":"a","type":"L{before}"}},{{"name":"b","type":"L{before}"}}]}}"#
        );
        list.push(format!(r#"{{"name":"f{level}","type":{levels}}}"#));
    }
    let whole = record(&list.join(","));
    fine(&whole, &whole.replace("\"f39\"", "\"f39\",\"doc\":\"other\""));
    let old = parse(&whole);
    assert_eq!(compare(&old, &old, &mut 10), Err(SchemaProblem::TooComplex));
}

#[test]
fn types_of_other_schemas_are_known_by_name() {
    let address = Reference {
        name: "com.acme.Address".into(),
        text: r#"{"type":"record","name":"Address","namespace":"com.acme","fields":[{"name":"city","type":"string"}]}"#
            .into(),
    };
    let text = r#"{"type":"record","name":"Order","namespace":"com.acme","fields":[{"name":"to","type":"Address"}]}"#;
    let schema = AvroSchema::parse(text, std::slice::from_ref(&address)).unwrap();
    assert!(schema.parsing_form().unwrap().contains(r#""name":"com.acme.Address""#));
    assert!(matches!(AvroSchema::parse(text, &[]), Err(SchemaProblem::Invalid { .. })));
    let twice = r#"{"type":"enum","name":"com.acme.Address","symbols":[]}"#;
    assert!(AvroSchema::parse(twice, &[address]).is_err(), "nobody's type is defined anew");
}

#[test]
fn what_is_no_schema_is_refused_with_its_place() {
    let refused = [
        ("{", "JSON"),
        ("7", "Avro schema"),
        (r#""Nowhere""#, "`Nowhere`"),
        (r#"{"type":"record","name":"R"}"#, "`R` has no `fields`"),
        (r#"{"type":"record","name":"1R","fields":[]}"#, "`1R` is no name"),
        (r#"{"type":"record","name":"int","fields":[]}"#, "primitive"),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}"#,
            "`a` is a field twice",
        ),
        (r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":"x"}]}"#, "`R.a` the default"),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":2147483648}]}"#,
            "`R.a` the default",
        ),
        (r#"{"type":"enum","name":"E","symbols":["A","A"]}"#, "twice"),
        (r#"{"type":"enum","name":"E","symbols":["A"],"default":"B"}"#, "none of its symbols"),
        (r#"{"type":"fixed","name":"F","size":-1}"#, "`F` needs a `size`"),
        (r#"["int",["string"]]"#, "another union"),
        (r#"["int","int"]"#, "twice"),
        (r#"{"type":"array"}"#, "`items`"),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"record","name":"R","fields":[]}}]}"#,
            "defined twice",
        ),
    ];
    for (text, told) in refused {
        let error = AvroSchema::parse(text, &[]).unwrap_err().to_string();
        assert!(error.contains(told), "{text}: {error}");
    }
    assert!(AvroSchema::parse(&"[".repeat(10_000), &[]).is_err());
    let deep = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(97), "}".repeat(97));
    assert!(matches!(AvroSchema::parse(&deep, &[]), Err(SchemaProblem::TooLarge(_))));
    // A record that holds itself by default never ends.
    let endless = r#"{"type":"record","name":"R","fields":[{"name":"r","type":"R","default":{}}]}"#;
    assert!(AvroSchema::parse(endless, &[]).is_err());
}

#[test]
fn defaults_are_values_of_their_types() {
    for (kind, default) in [
        (r#"["null","int"]"#, "null"),
        (r#"["null","int"]"#, "7"),
        (r#"{"type":"array","items":"int"}"#, "[1,2]"),
        (r#"{"type":"map","values":["null","string"]}"#, r#"{"a":null,"b":"x"}"#),
        (r#""bytes""#, r#""\u00ff""#),
        (r#"{"type":"fixed","name":"F","size":2}"#, r#""\u0001\u00ff""#),
        (r#"{"type":"enum","name":"E","symbols":["A"]}"#, r#""A""#),
        (r#""double""#, "1"),
        (
            r#"{"type":"record","name":"S","fields":[{"name":"x","type":"int","default":1},{"name":"y","type":"int"}]}"#,
            r#"{"y":2}"#,
        ),
    ] {
        parse(&record(&format!(r#"{{"name":"a","type":{kind},"default":{default}}}"#)));
    }
}

#[test]
fn canonical_text_has_no_blanks_and_normal_text_one_order() {
    let one = r#"{ "fields": [{"type": {"type": "string"}, "name": "a", "default": "x", "doc": "d"}], "namespace": "n", "name": "R", "type": "record", "aliases": ["z", "b"], "own": {"b": 1, "a": 2} }"#;
    let two = r#"{"type":"record","name":"R","namespace":"n","own":{"a":2,"b":1},"aliases":["b","z"],"fields":[{"name":"a","doc":"d","default":"x","type":"string"}]}"#;
    let normal = canonical(one, &[], true).unwrap();
    assert_eq!(canonical(two, &[], true).unwrap(), normal);
    assert_eq!(
        normal,
        r#"{"name":"R","namespace":"n","type":"record","aliases":["b","z"],"own":{"a":2,"b":1},"fields":[{"name":"a","type":"string","doc":"d","default":"x"}]}"#
    );
    assert!(!canonical(one, &[], false).unwrap().contains(": "));
    assert_eq!(parse(one).parsing_form(), parse(&normal).parsing_form());
}
