//! RFC 8259 by hand: what is JSON, what is not, and where and why it is refused.

use tradelane_tape::{Kind, Limits, ParseError, ParseReason, Position, Tape};

fn refusal(json: &[u8]) -> ParseError {
    Tape::new().parse(json, &Limits::default()).map(|doc| doc.root().kind()).expect_err("to be refused")
}

fn reason(json: &str) -> ParseReason {
    refusal(json.as_bytes()).reason
}

#[test]
fn every_form_of_json_is_accepted() {
    for json in [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1",
        "-1",
        "10",
        "1234567890",
        "0.0",
        "-0.5",
        "1e1",
        "1E1",
        "1e+1",
        "1e-1",
        "0e0",
        "0.1e0001",
        "123.456e78",
        "\"\"",
        "\"a\"",
        "[]",
        "{}",
        " [ ] ",
        "\t{\n}\r\n",
        "[1]",
        "[[]]",
        "[[],[[]],{}]",
        "{\"\":0}",
        "{\"a\":{\"a\":{\"a\":[]}}}",
        " \r\n\t 1 \r\n\t ",
        "[null,true,false,0,\"\",[],{}]",
        r#""\"\\\/\b\f\n\r\t""#,
        r#""\u0000""#,
        r#""\uD83D\uDE00""#,
        r#""\ud800\udc00\udbff\udfff""#,
        "\"\u{7F}\u{80}\u{FFFF}\u{10FFFF}\"",
        r#"{"a":1,"A":2,"\u00e4":3,"a ":4,"aa":5}"#,
        r#"[{"a":1},{"a":1}]"#,
        r#"{"a":{"a":1},"b":{"a":1}}"#,
        "[-1.5e-7                                   ,\n\n\n                              2]",
    ] {
        let mut tape = Tape::new();
        let doc = tape.parse(json.as_bytes(), &Limits::default()).unwrap_or_else(|e| panic!("{json}: {e}"));
        assert_eq!(doc.root().raw(), json.trim().as_bytes());
        assert_eq!(doc.bytes(), json.as_bytes());
    }
}

#[test]
fn every_refusal_names_reason_and_place() {
    use ParseReason::*;
    for (json, offset, reason) in [
        ("", 0, UnexpectedEnd),
        (" ", 1, UnexpectedEnd),
        ("[", 1, UnexpectedEnd),
        ("{", 1, UnexpectedEnd),
        ("[1", 2, UnexpectedEnd),
        ("[1,", 3, UnexpectedEnd),
        ("{\"a", 3, UnexpectedEnd),
        ("{\"a\"", 4, UnexpectedEnd),
        ("{\"a\":", 5, UnexpectedEnd),
        ("{\"a\":1", 6, UnexpectedEnd),
        ("{\"a\":1,", 7, UnexpectedEnd),
        ("\"", 1, UnexpectedEnd),
        ("\"\\", 2, UnexpectedEnd),
        ("\"\\u12", 5, UnexpectedEnd),
        ("-", 1, UnexpectedEnd),
        ("1.", 2, UnexpectedEnd),
        ("1e", 2, UnexpectedEnd),
        ("1e+", 3, UnexpectedEnd),
        ("tru", 3, UnexpectedEnd),
        ("nul", 3, UnexpectedEnd),
        ("[1,]", 3, ExpectedValue),
        ("[,1]", 1, ExpectedValue),
        ("]", 0, ExpectedValue),
        ("}", 0, ExpectedValue),
        (",", 0, ExpectedValue),
        ("[1,,2]", 3, ExpectedValue),
        ("{\"a\":}", 5, ExpectedValue),
        ("'a'", 0, ExpectedValue),
        ("[NaN]", 1, ExpectedValue),
        ("Infinity", 0, ExpectedValue),
        ("+1", 0, ExpectedValue),
        (".5", 0, ExpectedValue),
        ("/**/1", 0, ExpectedValue),
        ("\u{FEFF}1", 0, ExpectedValue),
        ("\u{A0}1", 0, ExpectedValue),
        ("\u{0}", 0, ExpectedValue),
        ("\u{B}1", 0, ExpectedValue),
        ("{1:2}", 1, ExpectedName),
        ("{a:2}", 1, ExpectedName),
        ("{,}", 1, ExpectedName),
        ("{\"a\":1,}", 7, ExpectedName),
        ("{null:1}", 1, ExpectedName),
        ("{\"a\"1}", 4, ExpectedColon),
        ("{\"a\",1}", 4, ExpectedColon),
        ("{\"a\"}", 4, ExpectedColon),
        ("{\"a\"::1}", 5, ExpectedValue),
        ("{\"a\":1 \"b\":2}", 7, ExpectedCommaOrBrace),
        ("{\"a\":1]", 6, ExpectedCommaOrBrace),
        ("{\"a\":1;", 6, ExpectedCommaOrBrace),
        ("[1 2]", 3, ExpectedCommaOrBracket),
        ("[1}", 2, ExpectedCommaOrBracket),
        ("[\"a\":1]", 4, ExpectedCommaOrBracket),
        ("1 2", 2, TrailingData),
        ("{}}", 2, TrailingData),
        ("[]]", 2, TrailingData),
        ("null,", 4, TrailingData),
        ("1\u{0}", 1, TrailingData),
        ("truE", 3, InvalidLiteral),
        ("nulll", 4, TrailingData),
        ("falsy", 4, InvalidLiteral),
        ("nil", 1, InvalidLiteral),
        ("01", 1, InvalidNumber),
        ("-01", 2, InvalidNumber),
        ("00", 1, InvalidNumber),
        ("1.e1", 2, InvalidNumber),
        ("1.a", 2, InvalidNumber),
        ("--1", 1, InvalidNumber),
        ("-a", 1, InvalidNumber),
        ("1e1.5", 3, TrailingData),
        ("0x10", 1, TrailingData),
        ("[1.]", 3, InvalidNumber),
        ("[-]", 2, InvalidNumber),
        ("\"\n\"", 1, ControlCharacter),
        ("\"a\tb\"", 2, ControlCharacter),
        ("\"\u{0}\"", 1, ControlCharacter),
        ("\"\u{1F}\"", 1, ControlCharacter),
        ("{\"a\u{1}\":1}", 3, ControlCharacter),
        (r#""\a""#, 1, InvalidEscape),
        (r#""\'""#, 1, InvalidEscape),
        (r#""\U0041""#, 1, InvalidEscape),
        (r#""\u00g0""#, 5, InvalidEscape),
        (r#""\u 041""#, 3, InvalidEscape),
        (r#""\x41""#, 1, InvalidEscape),
        ("\"\\\n\"", 1, InvalidEscape),
        (r#""\u+041""#, 3, InvalidEscape),
        (r#""\ud800""#, 1, LoneSurrogate),
        (r#""\udc00""#, 1, LoneSurrogate),
        (r#""\ud800\u0041""#, 1, LoneSurrogate),
        (r#""\ud800x""#, 1, LoneSurrogate),
        (r#""\udc00\ud800""#, 1, LoneSurrogate),
        (r#""\ud800\ud800\udc00""#, 1, LoneSurrogate),
        (r#"{"\uDFFF":1}"#, 2, LoneSurrogate),
        (r#"{"a":1,"a":2}"#, 7, DuplicateName),
        (r#"{"a":1,"\u0061":2}"#, 7, DuplicateName),
        (r#"{"\u0061":1,"a":2}"#, 12, DuplicateName),
        (r#"{"":1,"b":1,"":2}"#, 12, DuplicateName),
        (r#"{"\n":1,"\u000a":2}"#, 8, DuplicateName),
        (r#"{"/":1,"\/":2}"#, 7, DuplicateName),
        (r#"{"😀":1,"\ud83d\ude00":2}"#, 10, DuplicateName),
        (r#"{"x":{"a":1,"b":[],"a":{}}}"#, 19, DuplicateName),
    ] {
        let error = refusal(json.as_bytes());
        assert_eq!((error.offset, error.reason), (offset, reason), "{json:?}");
        // The same in the middle of much else, where whole chunks are looked at.
        if !matches!(reason, UnexpectedEnd | TrailingData) && !json.starts_with('\u{FEFF}') {
            let padded = format!("[[\"{0}\"],          {json},{0}]", "pad".repeat(30));
            let error = refusal(padded.as_bytes());
            assert_eq!((error.offset, error.reason), (offset + 106, reason), "{padded:?}");
        }
    }
}

#[test]
fn what_is_not_utf8_is_refused_at_its_byte() {
    for (bytes, offset) in [
        (&b"\"\xFF\""[..], 1),
        (b"\"a\xC3\"", 2),
        (b"\"\xC0\x80\"", 1),
        (b"\"\xED\xA0\x80\"", 1),
        (b"\"\xF4\x90\x80\x80\"", 1),
        (b"\"\xE2\x82\"", 1),
        (b"\x80", 0),
        (b"[1]\xFE", 3),
        (b"\"\xF0\x9F\x98\"", 1),
        (b"\xFF\xFE1\x00", 0),
    ] {
        let error = refusal(bytes);
        assert_eq!((error.offset, error.reason), (offset, ParseReason::InvalidUtf8), "{bytes:?}");
    }
}

#[test]
fn strings_read_the_same_wherever_a_chunk_ends() {
    let mut tape = Tape::new();
    for before in 0..40 {
        for special in ["\\n", "\\u00e9", "\\ud83d\\ude00", "é", "😀", "\\\\\\\""] {
            for after in [0, 1, 15, 16, 17] {
                let json = format!("\"{}{special}{}\"", "a".repeat(before), "b".repeat(after));
                let expected: String = serde_json::from_str(&json).unwrap();
                let doc = tape.parse(json.as_bytes(), &Limits::default()).unwrap();
                assert_eq!(doc.root().as_str().unwrap(), expected);
                assert_eq!(doc.root().raw_str().is_none(), special.contains('\\'));
            }
        }
    }
}

#[test]
fn numbers_read_as_what_they_are() {
    let mut tape = Tape::new();
    let json = b"[0, -0, 42, -42, 18446744073709551615, 18446744073709551616, -9223372036854775808, 1.0, 1e2, 1e400, -1e400, 1e-400, 0.1]";
    let doc = tape.parse(json, &Limits::default()).unwrap();
    let number = |i| doc.root().at(i).unwrap();
    assert_eq!((number(0).as_u64(), number(0).as_i64(), number(0).as_f64()), (Some(0), Some(0), Some(0.0)));
    assert_eq!((number(1).as_u64(), number(1).as_i64()), (None, Some(0)));
    assert!(number(1).as_f64().unwrap().is_sign_negative());
    assert_eq!((number(2).as_u64(), number(2).as_i64(), number(2).as_f64()), (Some(42), Some(42), Some(42.0)));
    assert_eq!((number(3).as_u64(), number(3).as_i64()), (None, Some(-42)));
    assert_eq!((number(4).as_u64(), number(4).as_i64()), (Some(u64::MAX), None));
    assert_eq!((number(5).as_u64(), number(5).as_f64()), (None, Some(18446744073709551616.0)));
    assert_eq!(number(6).as_i64(), Some(i64::MIN));
    assert_eq!((number(7).as_i64(), number(7).as_f64(), number(7).is_written_as_integer()), (None, Some(1.0), false));
    assert_eq!((number(8).as_i64(), number(8).as_f64()), (None, Some(100.0)));
    assert_eq!((number(9).as_f64(), number(10).as_f64(), number(11).as_f64()), (None, None, Some(0.0)));
    assert_eq!(number(9).number_text(), Some("1e400"));
    assert_eq!(number(12).as_f64(), Some(0.1));
}

#[test]
fn accessors_of_another_kind_answer_nothing() {
    let mut tape = Tape::new();
    let doc = tape.parse(br#"[null, true, 1, "s", [1], {"a": 1}]"#, &Limits::default()).unwrap();
    let kinds: Vec<Kind> = doc.root().elements().map(|node| node.kind()).collect();
    assert_eq!(kinds, [Kind::Null, Kind::Bool, Kind::Number, Kind::String, Kind::Array, Kind::Object]);
    for node in doc.root().elements() {
        let kind = node.kind();
        assert_eq!(node.is_null(), kind == Kind::Null);
        assert_eq!(node.as_bool().is_some(), kind == Kind::Bool);
        assert_eq!(
            node.as_f64().is_some() || node.as_i64().is_some() || node.number_text().is_some(),
            kind == Kind::Number
        );
        assert_eq!(node.as_str().is_some() || node.raw_str().is_some() || node.eq_str("s"), kind == Kind::String);
        assert_eq!(node.elements().next().is_some() || node.at(0).is_some(), kind == Kind::Array);
        assert_eq!(node.members().next().is_some() || node.get("a").is_some(), kind == Kind::Object);
        assert_eq!(node.is_empty(), !matches!(kind, Kind::Array | Kind::Object));
    }
    assert!(doc.node(doc.node_count()).is_none());
    assert!((0..doc.node_count()).filter_map(|i| doc.node(i)).all(|node| !node.raw().is_empty()));
}

#[test]
fn pointers_follow_rfc_6901() {
    let json = br#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8,"10":{"0":9},"\u00e9":10}"#;
    let mut tape = Tape::new();
    let doc = tape.parse(json, &Limits::default()).unwrap();
    let raw = |pointer: &str| doc.root().pointer(pointer).map(|node| String::from_utf8_lossy(node.raw()).into_owned());
    assert_eq!(raw("").as_deref(), Some(std::str::from_utf8(json).unwrap()));
    for (pointer, value) in [
        ("/foo", "[\"bar\",\"baz\"]"),
        ("/foo/0", "\"bar\""),
        ("/foo/1", "\"baz\""),
        ("/", "0"),
        ("/a~1b", "1"),
        ("/c%d", "2"),
        ("/e^f", "3"),
        ("/g|h", "4"),
        ("/i\\j", "5"),
        ("/k\"l", "6"),
        ("/ ", "7"),
        ("/m~0n", "8"),
        ("/10/0", "9"),
        ("/é", "10"),
    ] {
        assert_eq!(raw(pointer).as_deref(), Some(value), "{pointer}");
    }
    for nowhere in [
        "foo",
        "/foo/2",
        "/foo/-",
        "/foo/01",
        "/foo/+1",
        "/foo/0/0",
        "/none",
        "/m~n",
        "/m~2n",
        "/a~1b/",
        "//",
        "/foo/18446744073709551616",
    ] {
        assert_eq!(raw(nowhere), None, "{nowhere}");
    }
}

#[test]
fn places_are_lines_and_columns_of_characters() {
    let text = "{\n  \"é\": 1,\n  \"😀\": x\n}";
    let error = refusal(text.as_bytes());
    assert_eq!(error.position(text.as_bytes()), Position { line: 3, column: 8 });
    assert_eq!(Position::of(b"", 0), Position { line: 1, column: 1 });
    assert_eq!(Position::of(b"a\n", 2), Position { line: 2, column: 1 });
    assert_eq!(Position::of(b"ab", 99), Position { line: 1, column: 3 });
    assert_eq!(Position { line: 3, column: 8 }.to_string(), "line 3, column 8");
    assert_eq!(error.to_string(), "a value is expected at byte 23");
}

#[test]
fn no_refusal_cites_the_document() {
    for json in ["[secret]", "{\"secret\" secret", "\"secret\\q\"", "{\"secret\":1,\"secret\":2}"] {
        assert!(!format!("{0} {0:?}", refusal(json.as_bytes())).contains("secret"));
    }
    assert_eq!(reason("[secret]"), ParseReason::ExpectedValue);
}
