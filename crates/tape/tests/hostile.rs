//! Hostile documents are refused or handled within memory that the limits fix.

use std::fmt::Write;
use tradelane_tape::ndjson::{self, LineError, LineLimits};
use tradelane_tape::{Limits, ParseReason, Tape};

fn reason(tape: &mut Tape, json: &str, limits: &Limits) -> Option<ParseReason> {
    tape.parse(json.as_bytes(), limits).err().map(|error| error.reason)
}

#[test]
fn depth_is_counted_exactly_and_never_reaches_the_stack() {
    let mut tape = Tape::new();
    let limits = Limits { max_depth: 64, ..Limits::default() };
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
        assert_eq!(reason(&mut tape, &nested(64), &limits), None);
        assert_eq!(reason(&mut tape, &nested(65), &limits), Some(ParseReason::TooDeep));
        assert_eq!(reason(&mut tape, &nested(1_000_000), &limits), Some(ParseReason::TooDeep));
        assert_eq!(reason(&mut tape, &open.repeat(1_000_000), &limits), Some(ParseReason::TooDeep));
    }
    let most = usize::from(Limits::MOST_DEPTH);
    let generous = Limits { max_depth: u16::MAX, ..Limits::default() };
    assert_eq!(reason(&mut tape, &format!("{}{}", "[".repeat(most), "]".repeat(most)), &generous), None);
    assert_eq!(reason(&mut tape, &"[".repeat(most + 1), &generous), Some(ParseReason::TooDeep));
    let none = Limits { max_depth: 0, ..Limits::default() };
    assert_eq!(reason(&mut tape, "1", &none), None);
    assert_eq!(reason(&mut tape, "[]", &none), Some(ParseReason::TooDeep));
    // Many containers beside each other are not deep.
    assert_eq!(reason(&mut tape, &format!("[{}[]]", "[],".repeat(10_000)), &limits), None);
}

#[test]
fn nodes_are_counted_exactly() {
    let mut tape = Tape::new();
    for max_nodes in [1, 2, 127, 128, 129, 1000, 100_000] {
        let limits = Limits { max_nodes, ..Limits::default() };
        let elements = |n: u32| format!("[{}]", vec!["0"; n as usize].join(","));
        assert_eq!(reason(&mut tape, &elements(max_nodes - 1), &limits), None);
        assert_eq!(reason(&mut tape, &elements(max_nodes), &limits), Some(ParseReason::TooManyNodes), "{max_nodes}");
        // A tape that has grown before keeps to the limit all the same.
        assert_eq!(reason(&mut tape, &elements(2 * max_nodes + 9), &limits), Some(ParseReason::TooManyNodes));
    }
    assert_eq!(reason(&mut tape, "1", &Limits { max_nodes: 0, ..Limits::default() }), Some(ParseReason::TooManyNodes));
    let doc = tape.parse(br#"{"a":[1,2],"b":{}}"#, &Limits::default()).unwrap();
    assert_eq!(doc.node_count(), 7, "values and names");
}

#[test]
fn size_is_bounded_before_anything_is_read() {
    let mut tape = Tape::new();
    let limits = Limits { max_bytes: 8, ..Limits::default() };
    assert_eq!(reason(&mut tape, "\"123456\"", &limits), None);
    assert_eq!(reason(&mut tape, "\"1234567\"", &limits), Some(ParseReason::TooLarge));
    let giant = format!("\"{}\"", "a".repeat(100_000_000));
    assert_eq!(reason(&mut tape, &giant, &Limits::default()), Some(ParseReason::TooLarge));
    let generous = Limits { max_bytes: 200_000_000, ..Limits::default() };
    let doc = tape.parse(giant.as_bytes(), &generous).unwrap();
    assert_eq!(doc.root().raw_str().unwrap().len(), 100_000_000);
    assert!(tape.retained_bytes() < 8192, "a long string takes one entry");
}

#[test]
fn a_million_elements_take_what_the_limits_say_and_give_it_back() {
    let mut tape = Tape::new();
    let elements = format!("[{}]", vec!["1"; 1_000_000].join(","));
    assert_eq!(reason(&mut tape, &elements, &Limits::default()), Some(ParseReason::TooManyNodes));
    assert!(tape.retained_bytes() <= 1_000_000 * 16 + 4096, "{}", tape.retained_bytes());
    let limits = Limits { max_nodes: 1_000_001, ..Limits::default() };
    assert_eq!(tape.parse(elements.as_bytes(), &limits).unwrap().root().len(), 1_000_000);
    assert!(tape.retained_bytes() <= 1_000_001 * 16 + 4096, "{}", tape.retained_bytes());
    tape.parse(b"{}", &limits).unwrap();
    assert!(tape.retained_bytes() <= 65_536 * 16 + 4096, "{}", tape.retained_bytes());
}

#[test]
fn many_members_are_compared_without_quadratic_work() {
    let mut tape = Tape::new();
    let limits = Limits::default();
    let object = |name: &dyn Fn(usize) -> String, n: usize| {
        let mut json = String::from("{");
        for i in 0..n {
            let _ = write!(json, "\"{}\":0,", name(i));
        }
        json.pop();
        json.push('}');
        json
    };
    // The hash sees the first and last 16 bytes and the length, so these collide by design, all of them.
    let colliding = |i: usize| format!("{0}{i:08}{0}", "same-at-both-ends");
    // Names with escapes are compared decoded.
    let escaped = |i: usize| format!("\\u0073{}{i:08}{}", "ame-at-both-ends", "same-at-both-ends");
    for name in [&colliding as &dyn Fn(usize) -> String, &escaped, &|i| i.to_string()] {
        let json = object(name, 200_000);
        assert_eq!(reason(&mut tape, &json, &limits), None);
        let twice = format!("{},\"{}\":1}}", json.strip_suffix('}').unwrap(), name(77));
        let error = tape.parse(twice.as_bytes(), &limits).unwrap_err();
        assert_eq!(error.reason, ParseReason::DuplicateName);
        assert_eq!(&twice[error.offset..], format!("\"{}\":1}}", name(77)), "the later of the two is named");
    }
    tape.parse(b"{}", &limits).unwrap();
    assert!(tape.retained_bytes() <= 65_536 * 16 + 65_536 + 4096, "{}", tape.retained_bytes());
}

#[test]
fn duplicates_are_found_around_the_size_where_the_search_changes() {
    let mut tape = Tape::new();
    for n in 60..70 {
        let members: Vec<String> = (0..n).map(|i| format!("\"k{i}\":{{\"k{i}\":[{i}]}}")).collect();
        let unique = format!("{{{}}}", members.join(","));
        assert_eq!(reason(&mut tape, &unique, &Limits::default()), None);
        for twice in [0, 1, n / 2, n - 1] {
            for spelt in [format!("k{twice}"), format!("\\u006b{twice}")] {
                let json = format!("{{{},\"{spelt}\":0}}", members.join(","));
                assert_eq!(
                    reason(&mut tape, &json, &Limits::default()),
                    Some(ParseReason::DuplicateName),
                    "{n} {spelt}"
                );
            }
        }
    }
}

#[test]
fn numbers_without_end_are_refused() {
    let mut tape = Tape::new();
    let limits = Limits::default();
    let longest = "9".repeat(Limits::NUMBER_BYTES);
    assert_eq!(reason(&mut tape, &longest, &limits), None);
    for json in [format!("9{longest}"), format!("0.{longest}"), format!("1e{longest}"), "9".repeat(10_000_000)] {
        assert_eq!(reason(&mut tape, &json, &limits), Some(ParseReason::NumberTooLong));
    }
    let doc = tape.parse(longest.as_bytes(), &limits).unwrap();
    assert_eq!((doc.root().as_f64(), doc.root().as_i64(), doc.root().as_u64()), (None, None, None));
}

#[test]
fn a_tape_is_as_good_as_new_after_a_refusal() {
    let mut tape = Tape::new();
    for broken in ["[[[[1,2,", "{\"a\":{\"b\":1,\"b\":2}}", "[1}", "\"\\ud800\"", "[[[", "\u{1}"] {
        assert!(tape.parse(broken.as_bytes(), &Limits::default()).is_err());
        let doc = tape.parse(br#"{"a":[1,{"b":null}]}"#, &Limits::default()).unwrap();
        assert_eq!(doc.root().pointer("/a/1/b").map(|node| node.is_null()), Some(true));
        assert_eq!(doc.node_count(), 7);
    }
}

#[test]
fn lines_are_bounded_in_length_and_number() {
    let limits = LineLimits { max_line_bytes: 10, max_lines: 3 };
    let body = b"\n{\"a\":1}\r\n  \r\n[2]\n\t\n3";
    let lines: Vec<_> = ndjson::lines(body, limits).map(|line| line.map(|l| (l.number, l.offset, l.bytes))).collect();
    assert_eq!(lines, [Ok((2, 1, &b"{\"a\":1}"[..])), Ok((4, 14, &b"[2]"[..])), Ok((6, 20, &b"3"[..]))]);
    assert_eq!(ndjson::lines(b"", limits).count(), 0);
    assert_eq!(ndjson::lines(b"\n\r\n \n", limits).count(), 0);
    let mut many = ndjson::lines(b"1\n2\n3\n\n4\n5\n", limits);
    assert_eq!(many.by_ref().take(3).filter(|line| line.is_ok()).count(), 3);
    assert_eq!(many.next(), Some(Err(LineError::TooMany { line: 5 })));
    assert_eq!(many.next(), None);
    let mut long = ndjson::lines(b"1\n01234567890\n3", limits);
    assert!(long.next().unwrap().is_ok());
    assert_eq!(long.next(), Some(Err(LineError::TooLong { line: 2 })));
    assert_eq!(long.next(), None);
}
