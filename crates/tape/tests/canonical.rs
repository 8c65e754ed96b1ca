//! RFC 8785: the examples of its text, and the corners of its rules.

use tradelane_tape::{Limits, Tape, jcs};

fn canonical(json: &str) -> String {
    let mut tape = Tape::new();
    let mut out = Vec::new();
    jcs::canonicalize(tape.parse(json.as_bytes(), &Limits::default()).expect("JSON").root(), &mut out);
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn the_example_of_section_3_2_2() {
    let json = r#"{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }"#;
    let expected = r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#;
    assert_eq!(canonical(json), expected);
}

#[test]
fn the_example_of_section_3_2_3_sorts_by_utf16() {
    let json = r#"{
      "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
      "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"
    }"#;
    let canonical = canonical(json);
    let order: Vec<usize> = ["Carriage Return", "One", "Control", "Latin Small", "Euro Sign", "Emoji", "Hebrew"]
        .iter()
        .map(|value| canonical.find(value).expect("the value"))
        .collect();
    assert!(order.is_sorted(), "{canonical}");
    assert!(canonical.starts_with(r#"{"\r":"Carriage Return","1":"One","#));
}

#[test]
fn numbers_of_appendix_b() {
    for (bits, expected) in [
        (0x0000000000000000_u64, "0"),
        (0x8000000000000000, "0"),
        (0x0000000000000001, "5e-324"),
        (0x8000000000000001, "-5e-324"),
        (0x7fefffffffffffff, "1.7976931348623157e+308"),
        (0xffefffffffffffff, "-1.7976931348623157e+308"),
        (0x4340000000000000, "9007199254740992"),
        (0xc340000000000000, "-9007199254740992"),
        (0x4430000000000000, "295147905179352830000"),
        (0x44b52d02c7e14af5, "9.999999999999997e+22"),
        (0x44b52d02c7e14af6, "1e+23"),
        (0x44b52d02c7e14af7, "1.0000000000000001e+23"),
        (0x444b1ae4d6e2ef4e, "999999999999999700000"),
        (0x444b1ae4d6e2ef4f, "999999999999999900000"),
        (0x444b1ae4d6e2ef50, "1e+21"),
        (0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"),
        (0x3eb0c6f7a0b5ed8d, "0.000001"),
        (0x41b3de4355555553, "333333333.3333332"),
        (0x41b3de4355555554, "333333333.33333325"),
        (0x41b3de4355555555, "333333333.3333333"),
        (0x41b3de4355555556, "333333333.3333334"),
        (0x41b3de4355555557, "333333333.33333343"),
        (0xbecbf647612f3696, "-0.0000033333333333333333"),
        (0x43143ff3c1cb0959, "1424953923781206.2"),
    ] {
        let double = f64::from_bits(bits);
        assert_eq!(canonical(&format!("{double:e}")), expected);
        assert_eq!(canonical(&format!("[{double:?}]")), format!("[{expected}]"));
    }
}

#[test]
fn equal_numbers_have_one_form() {
    for (json, expected) in [
        ("-0", "0"),
        ("-0.0", "0"),
        ("0e5", "0"),
        ("1.0", "1"),
        ("1e0", "1"),
        ("10e-1", "1"),
        ("100", "100"),
        ("1E2", "100"),
        ("999999999999999", "999999999999999"),
        ("9007199254740993", "9007199254740992"),
        ("123456789012345678901234567890", "1.2345678901234568e+29"),
        ("1e-400", "0"),
        ("0.1", "0.1"),
        ("-1.50", "-1.5"),
    ] {
        assert_eq!(canonical(json), expected, "{json}");
    }
    // Beyond a double there is no canonical form: such a number keeps its text and stays apart from every other.
    assert_eq!(canonical("[1e400,-1E400]"), "[1e400,-1E400]");
}

#[test]
fn strings_carry_the_fewest_escapes() {
    let all: String = (0..0x20u8).map(|c| format!("\\u{c:04X}")).collect();
    let expected = r#""\u0000\u0001\u0002\u0003\u0004\u0005\u0006\u0007\b\t\n\u000b\f\r\u000e\u000f\u0010\u0011\u0012\u0013\u0014\u0015\u0016\u0017\u0018\u0019\u001a\u001b\u001c\u001d\u001e\u001f""#;
    assert_eq!(canonical(&format!("\"{all}\"")), expected);
    assert_eq!(canonical(r#""\u007f\u0080\u2028\/\u003c""#), "\"\u{7F}\u{80}\u{2028}/<\"");
}

#[test]
fn only_members_are_sorted_and_white_space_goes() {
    assert_eq!(canonical(" [ 3 , 1 , { \"b\" : [ ] , \"a\" : { } , \"\" : 0 } ] "), r#"[3,1,{"":0,"a":{},"b":[]}]"#);
    assert_eq!(
        canonical(r#"{"a":{"z":1,"y":{"b":2,"a":[{"d":1,"c":2}]}},"A":0}"#),
        r#"{"A":0,"a":{"y":{"a":[{"c":2,"d":1}],"b":2},"z":1}}"#
    );
    assert_eq!(canonical(r#"{"\u0062":1,"a":2}"#), r#"{"a":2,"b":1}"#);
    let depth = usize::from(Limits::default().max_depth);
    let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(canonical(&nested), nested);
}

#[test]
fn a_part_of_a_document_has_its_own_form() {
    let mut tape = Tape::new();
    let doc = tape.parse(br#"{"event": {"b": 1, "a": 2}, "rest": 0}"#, &Limits::default()).unwrap();
    let mut out = b"prefix ".to_vec();
    jcs::canonicalize(doc.root().get("event").unwrap(), &mut out);
    assert_eq!(out, br#"prefix {"a":2,"b":1}"#);
}
