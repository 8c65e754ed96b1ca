//! Protobuf schemas: what is taken, how it is written, and which changes break readers.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> ProtobufSchema {
    ProtobufSchema::parse(text, &[]).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn changes(old: &ProtobufSchema, new: &ProtobufSchema) -> Vec<String> {
    let told = compare(old, new, &mut 50_000).unwrap();
    told.into_iter().map(|c| format!("{}{} {}", if c.is_compatible { "" } else { "!" }, c.kind, c.at)).collect()
}

/// The changes between two proto3 files; a `!` stands before those that break.
fn from_to(old: &str, new: &str) -> Vec<String> {
    let file = |body: &str| parse(&format!("syntax = \"proto3\"; {body}"));
    changes(&file(old), &file(new))
}

#[test]
fn fields_are_known_by_their_numbers_and_scalars_change_within_their_kind() {
    let old = "message M { string a = 1; int32 b = 2; }";
    let nothing: [&str; 0] = [];
    assert_eq!(from_to(old, old), nothing);
    assert_eq!(from_to(old, "message M { string a = 1; }"), ["FIELD_REMOVED #/M/2"]);
    assert_eq!(from_to(old, "message M { string a = 1; int32 b = 2; bool c = 3; }"), ["FIELD_ADDED #/M/3"]);
    assert_eq!(from_to(old, "message M { string x = 1; int32 b = 2; }"), ["FIELD_NAME_CHANGED #/M/1"]);
    for same in ["int64", "uint32", "uint64", "bool"] {
        assert_eq!(from_to(old, &format!("message M {{ string a = 1; {same} b = 2; }}")), nothing, "{same}");
    }
    for other in ["sint32", "sint64", "fixed32", "sfixed64", "float", "double", "string", "bytes"] {
        let new = format!("message M {{ string a = 1; {other} b = 2; }}");
        assert_eq!(from_to(old, &new), ["!FIELD_SCALAR_KIND_CHANGED #/M/2"], "{other}");
    }
    assert_eq!(from_to(old, "message M { bytes a = 1; int32 b = 2; }"), nothing);
    assert_eq!(
        from_to(old, "enum E { Z = 0; } message M { string a = 1; E b = 2; }"),
        ["ENUM_ADDED #/E"],
        "an enum is a number"
    );
    assert_eq!(
        from_to(old, "message M { message N {} string a = 1; N b = 2; }"),
        ["!FIELD_KIND_CHANGED #/M/2", "MESSAGE_ADDED #/M/N"]
    );
}

#[test]
fn labels_of_numbers_matter_and_those_of_texts_and_messages_do_not() {
    let with = |kind: &str, label: &str| format!("message N {{}} message M {{ {label} {kind} a = 1; }}");
    let nothing: [&str; 0] = [];
    assert_eq!(from_to(&with("int32", ""), &with("int32", "repeated")), ["!FIELD_NUMERIC_LABEL_CHANGED #/M/1"]);
    assert_eq!(
        from_to(&with("string", ""), &with("string", "repeated")),
        ["FIELD_STRING_OR_BYTES_LABEL_CHANGED #/M/1"]
    );
    assert_eq!(from_to(&with("N", ""), &with("N", "repeated")), nothing);
    assert_eq!(from_to(&with("int32", ""), &with("int32", "optional")), nothing, "presence is not on the wire");
    let packed = "message M { repeated int32 a = 1 [packed = false]; }";
    assert_eq!(from_to("message M { repeated int32 a = 1; }", packed), nothing, "parsers take both");
    let two = |label: &str| {
        parse(&format!("syntax = \"proto2\"; message M {{ {label} string a = 1; optional int32 b = 2; }}"))
    };
    let none = parse("syntax = \"proto2\"; message M { optional int32 b = 2; }");
    assert_eq!(changes(&two("required"), &none), ["!REQUIRED_FIELD_REMOVED #/M/1"]);
    assert_eq!(changes(&none, &two("required")), ["!REQUIRED_FIELD_ADDED #/M/1"]);
    assert_eq!(changes(&none, &two("optional")), ["FIELD_ADDED #/M/1"]);
}

#[test]
fn a_oneof_may_grow_and_go_but_not_lose_a_field_or_take_several_in() {
    let loose = "message M { string a = 1; string b = 2; }";
    let one = "message M { oneof x { string a = 1; } string b = 2; }";
    let both = "message M { oneof x { string a = 1; string b = 2; } }";
    assert_eq!(from_to(loose, one), ["ONEOF_ADDED #/M/x"]);
    assert_eq!(from_to(loose, both), ["!MULTIPLE_FIELDS_MOVED_TO_ONEOF #/M/x", "ONEOF_ADDED #/M/x"]);
    assert_eq!(from_to(one, both), ["!FIELD_MOVED_TO_EXISTING_ONEOF #/M/x"]);
    assert_eq!(from_to(one, loose), ["ONEOF_REMOVED #/M/x", "ONEOF_FIELD_MOVED_TO_TOP_LEVEL #/M/1"]);
    assert_eq!(from_to(both, "message M { oneof x { string a = 1; } }"), ["!ONEOF_FIELD_REMOVED #/M/x/2"]);
    assert_eq!(from_to(both, "message M { }"), ["ONEOF_REMOVED #/M/x"], "with all of its fields");
    assert_eq!(
        from_to(both, "message M { oneof x { string a = 1; string b = 2; string c = 3; } }"),
        ["ONEOF_FIELD_ADDED #/M/x/3"]
    );
    assert_eq!(
        from_to(both, "message M { oneof y { string a = 1; int32 b = 2; } }"),
        ["ONEOF_REMOVED #/M/x", "ONEOF_ADDED #/M/y", "!FIELD_SCALAR_KIND_CHANGED #/M/y/2"]
    );
}

#[test]
fn messages_maps_and_packages_are_compared_by_name() {
    let nothing: [&str; 0] = [];
    assert_eq!(from_to("message A {} message B {}", "message A {}"), ["!MESSAGE_REMOVED #/B"]);
    assert_eq!(
        from_to("message A {} message B {}", "message B {} message A {}"),
        ["MESSAGE_MOVED #/A", "MESSAGE_MOVED #/B"]
    );
    assert_eq!(from_to("package a; message A {}", "package b; message A {}"), ["!PACKAGE_CHANGED #/"]);
    let map = |value: &str| format!("message A {{ map<string, {value}> m = 1; }}");
    assert_eq!(from_to(&map("int32"), &map("int64")), nothing);
    assert_eq!(from_to(&map("int32"), &map("string")), ["!FIELD_SCALAR_KIND_CHANGED #/A/1"]);
    assert_eq!(from_to(&map("int32"), "message A { string m = 1; }"), ["!FIELD_KIND_CHANGED #/A/1"]);
    assert_eq!(
        from_to("message B {} message C {} message A { B b = 1; }", "message B {} message C {} message A { C b = 1; }"),
        ["!FIELD_NAMED_TYPE_CHANGED #/A/1"]
    );
    let tree = "message A { A left = 1; repeated A more = 2; B b = 3; } message B { A a = 1; }";
    assert_eq!(from_to(tree, tree), nothing, "recursion ends");
}

#[test]
fn imports_are_compiled_compared_and_nothing_else_is_found() {
    let text = "syntax = \"proto3\"; import \"home.proto\"; import \"google/protobuf/timestamp.proto\"; \
                message M { shared.Home home = 1; google.protobuf.Timestamp at = 2; }";
    let home = |kind: &str| Reference {
        name: "home.proto".into(),
        text: format!("syntax = \"proto3\"; package shared; message Home {{ {kind} number = 1; }}"),
    };
    let with = |kind: &str| ProtobufSchema::parse(text, &[home(kind)]).unwrap();
    assert_eq!(changes(&with("int32"), &with("int64")), Vec::<String>::new());
    assert_eq!(
        changes(&with("int32"), &with("string")),
        ["!FIELD_SCALAR_KIND_CHANGED #/Home/1", "!FIELD_NAMED_TYPE_CHANGED #/M/1"]
    );
    assert!(ProtobufSchema::parse(text, &[]).is_err(), "the import is not there");
    assert!(ProtobufSchema::parse("syntax = \"proto3\"; import \"/etc/passwd\";", &[]).is_err());
    assert!(ProtobufSchema::parse("syntax = \"proto3\"; import \"-\";", &[]).is_err(), "not even itself");
}

/// Everything that a file can hold.
const ALL: &str = r#"
    syntax = "proto2";
    package all.things; // Comments go.
    import public "google/protobuf/timestamp.proto";
    import "google/protobuf/descriptor.proto";
    option java_package = "com.example.\"all\"";
    option java_multiple_files = true;
    extend google.protobuf.FieldOptions { repeated string tags = 50001; optional Deep deep = 50002; }
    message Deep { optional int32 level = 1; optional Deep more = 2; repeated float parts = 3; }
    message Things {
        option deprecated = true;
        reserved 100, 200 to 210, 1000 to max;
        reserved "gone", "lost";
        message Early { }
        map<string, Early> early = 9 [(tags) = "a", (tags) = "b"];
        enum Colour { option allow_alias = true; reserved -5, 7 to max; RED = 0 [deprecated = true]; ROUGE = 0; BLUE = -1; }
        required Colour colour = 1 [default = BLUE, (deep) = { level: 1, more { level: 2 }, parts: [1.5, -2] }];
        optional string text = 2 [default = "a\"b\\c\n\001ü", json_name = "theText"];
        optional bytes raw = 3 [default = "\377\000x"];
        optional double huge = 4 [default = inf];
        repeated int32 packed = 5 [packed = true];
        optional group Circle = 6 { optional double radius = 1; }
        oneof choice { Early first = 7; google.protobuf.Timestamp second = 8; }
        message Late { extensions 10 to 20, 30 to max; }
        extend Late { optional int32 later = 15; }
    }
    service Talk { rpc Say(stream Things) returns (Things); rpc Hear(Things) returns (stream Things) { option deprecated = true; } }
"#;

#[test]
fn everything_is_written_and_read_back_as_it_was() {
    let printed = canonical(ALL, &[], false).unwrap();
    let strip = |schema: &ProtobufSchema| schema.file().file_descriptor_proto().clone();
    let (before, after) = (parse(ALL), parse(&printed));
    assert_eq!(strip(&before), strip(&after), "{printed}");
    assert_eq!(before.serialized("all.proto"), after.serialized("all.proto"), "options of others are in the bytes");
    assert!(!printed.contains("Comments"));
    assert_eq!(canonical(&printed, &[], false).unwrap(), printed);
}

#[test]
fn a_descriptor_is_the_same_schema_as_its_text() {
    let text = canonical(ALL, &[], false).unwrap();
    let base64 = parse(ALL).serialized("all.proto");
    assert_eq!(canonical(&base64, &[], false).unwrap(), text);
    assert_eq!(parse(&base64).serialized("all.proto"), base64);
}

#[test]
fn normal_text_has_fields_by_number_and_keeps_the_order_of_messages() {
    let one = "syntax=\"proto3\"; import \"google/protobuf/any.proto\"; import \"google/protobuf/api.proto\"; \
               message B { string b = 2; int32 a = 1; map<string, string> m = 3; message N {} enum E { Z = 0; Y = 2; X = 1; } } message A {}";
    let other = "syntax=\"proto3\"; import \"google/protobuf/api.proto\"; import \"google/protobuf/any.proto\"; \
               message B { int32 a = 1; string b = 2; map<string, string> m = 3; enum E { Z = 0; X = 1; Y = 2; } message N {} } message A {}";
    let normal = canonical(one, &[], true).unwrap();
    assert_eq!(canonical(other, &[], true).unwrap(), normal);
    assert_ne!(canonical(other, &[], false).unwrap(), canonical(one, &[], false).unwrap());
    let names = |text: &str| {
        let all = parse(text).pool().all_messages().map(|m| m.full_name().to_owned()).collect::<Vec<_>>();
        all.into_iter().filter(|name| !name.starts_with("google")).collect::<Vec<_>>()
    };
    assert_eq!(names(&normal), names(one), "message indexes still hold");
}

#[test]
fn hostile_files_are_refused() {
    let deep = format!("syntax=\"proto3\"; {} {}", "message M {".repeat(1000), "}".repeat(1000));
    let option = format!("option (x) = {}{};", "{a ".repeat(5000), "}".repeat(5000));
    for text in
        [&deep, &option, "message M { string a = 1; string b = 1; }", "message M { Nowhere a = 1; }", "{", "AAAA"]
    {
        assert!(canonical(text, &[], false).is_err(), "{text:.40}");
    }
    assert!(matches!(canonical(&" ".repeat(300_000), &[], false), Err(SchemaProblem::TooLarge(_))));
    // A name that would be more than a name, were it written.
    let mut proto = parse("syntax=\"proto3\"; message Abc {}").file().file_descriptor_proto().clone();
    proto.message_type[0].name = Some("A {} message B".into());
    assert!(canonical(&STANDARD.encode(proto.encode_to_vec()), &[], false).is_err());
    proto.message_type[0].name = Some("Abc".into());
    for syntax in ["proto4", "editions"] {
        proto.syntax = Some(syntax.into());
        assert!(canonical(&STANDARD.encode(proto.encode_to_vec()), &[], false).is_err());
        assert!(canonical(&format!("syntax = \"{syntax}\"; message A {{}}"), &[], false).is_err());
    }
    let nested = |depth: usize| {
        let mut message = prost_reflect::prost_types::DescriptorProto { name: Some("M".into()), ..Default::default() };
        for _ in 0..depth {
            message = prost_reflect::prost_types::DescriptorProto {
                name: Some("M".into()),
                nested_type: vec![message],
                ..Default::default()
            };
        }
        let file =
            prost_reflect::prost_types::FileDescriptorProto { message_type: vec![message], ..Default::default() };
        STANDARD.encode(file.encode_to_vec())
    };
    assert!(canonical(&nested(5), &[], false).is_ok());
    assert!(canonical(&nested(90), &[], false).is_err(), "deeper than text may be");
    let deep_option = |depth: usize| {
        let value = format!("{}{}", "{ more ".repeat(depth), "}".repeat(depth));
        let value = value.replace("more }", "}");
        ALL.replace("{ level: 1, more { level: 2 }, parts: [1.5, -2] }", &value)
    };
    assert!(canonical(&deep_option(30), &[], false).is_ok());
    assert!(canonical(&deep_option(200), &[], false).is_err());
    drop(canonical(&deep_option(90), &[], false));
    assert!(canonical(&nested(3000), &[], false).is_err());
}

prop_compose! {
    fn field()(number in 1_u32..6, kind in prop::sample::select(vec!["int32", "string", "double", "N", "E", "map<string, int32>"]),
        label in prop::sample::select(vec!["", "repeated ", "optional "])) -> (u32, &'static str, &'static str) {
        (number, kind, if kind.starts_with("map") { "" } else { label })
    }
}

fn file(fields: &[(u32, &str, &str)]) -> String {
    let mut seen = std::collections::BTreeSet::new();
    let lines: String = fields
        .iter()
        .filter(|(number, ..)| seen.insert(*number))
        .map(|(number, kind, label)| format!("{label}{kind} f{number} = {number};"))
        .collect();
    format!("syntax = \"proto3\"; enum E {{ Z = 0; }} message N {{ int32 a = 1; }} message M {{ {lines} }}")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_schema_follows_itself_and_its_canonical_text(fields in prop::collection::vec(field(), 0..6)) {
        let schema = parse(&file(&fields));
        prop_assert_eq!(changes(&schema, &schema), Vec::<String>::new());
        for normalize in [false, true] {
            let printed = parse(&canonical(&file(&fields), &[], normalize).unwrap());
            prop_assert_eq!(changes(&schema, &printed), Vec::<String>::new());
            prop_assert_eq!(changes(&printed, &schema), Vec::<String>::new());
        }
    }
}

#[test]
fn a_descriptor_whose_syntax_is_said_to_be_nothing_is_refused() {
    // Found by fuzzing: the compiler panicked.
    let refused = canonical("0AUK4gAAUK0S", &[], false).unwrap_err();
    assert!(refused.to_string().contains("syntax"), "{refused}");
}
