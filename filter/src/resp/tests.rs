//! The grammar against honest stores, lying stores and noise.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A reply that owns its bytes, for generating.
#[derive(Clone, Debug)]
enum Value {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Option<Vec<u8>>),
    Array(Option<Vec<Self>>),
}

impl Value {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Simple(text) => out.extend_from_slice(format!("+{text}\r\n").as_bytes()),
            Self::Error(text) => out.extend_from_slice(format!("-{text}\r\n").as_bytes()),
            Self::Integer(value) => out.extend_from_slice(format!(":{value}\r\n").as_bytes()),
            Self::Bulk(None) => out.extend_from_slice(b"$-1\r\n"),
            Self::Bulk(Some(bytes)) => {
                out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
            Self::Array(None) => out.extend_from_slice(b"*-1\r\n"),
            Self::Array(Some(values)) => {
                out.extend_from_slice(format!("*{}\r\n", values.len()).as_bytes());
                values.iter().for_each(|value| value.write(out));
            }
        }
    }

    fn as_reply(&self) -> Reply<'_> {
        match self {
            Self::Simple(text) => Reply::Simple(text.as_bytes()),
            Self::Error(text) => Reply::Error(text.as_bytes()),
            Self::Integer(value) => Reply::Integer(*value),
            Self::Bulk(bytes) => Reply::Bulk(bytes.as_deref()),
            Self::Array(values) => Reply::Array(
                values
                    .as_ref()
                    .map(|values| values.iter().map(Self::as_reply).collect()),
            ),
        }
    }
}

fn written(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    values.iter().for_each(|value| value.write(&mut out));
    out
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        "[ -~é]{0,20}".prop_map(Value::Simple),
        "[A-Z]{0,8} [ -~]{0,20}".prop_map(Value::Error),
        any::<i64>().prop_map(Value::Integer),
        Just(Value::Bulk(None)),
        vec(any::<u8>(), 0..30).prop_map(|bytes| Value::Bulk(Some(bytes))),
        Just(Value::Array(None)),
    ];
    let depth = u32::try_from(MAX_DEPTH).unwrap();
    leaf.prop_recursive(depth, 30, 5, |inner| {
        vec(inner, 0..5).prop_map(|values| Value::Array(Some(values)))
    })
}

/// Bytes that look like RESP often enough to get past the first byte.
fn almost_resp() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"*2\r\n".to_vec()),
        Just(b"$3\r\nabc\r\n".to_vec()),
        Just(b":1\r\n".to_vec()),
        Just(b"-\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"$-1\r\n".to_vec()),
        Just(b"*999".to_vec()),
        vec(any::<u8>(), 0..4),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Feeds `bytes` cut at `cuts`, wherever those fall.
fn fed_in_pieces(bytes: &[u8], expected: usize, cuts: &[usize]) -> Result<usize, Malformed> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    let mut scanner = Scanner::new(expected);
    for pair in cuts.windows(2) {
        let _ = scanner.feed(&bytes[pair[0]..pair[1]]);
    }
    scanner.feed(b"")
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(values in vec(any_value(), 0..6)) {
        let bytes = written(&values);
        let expected: Vec<_> = values.iter().map(Value::as_reply).collect();
        prop_assert_eq!(decode_all(&bytes, values.len()).unwrap(), expected);
        prop_assert!(decode_all(&bytes, values.len() + 1).is_err());
        if !values.is_empty() {
            let fault = decode_all(&bytes, values.len() - 1).unwrap_err();
            prop_assert_eq!(fault.cause, Cause::Surplus);
        }
    }

    #[test]
    fn every_proper_prefix_is_truncated(values in vec(any_value(), 1..4), cut in any::<usize>()) {
        let bytes = written(&values);
        let prefix = &bytes[..cut % bytes.len()];
        let fault = decode_all(prefix, values.len()).unwrap_err();
        prop_assert_eq!(fault, Malformed { offset: prefix.len(), cause: Cause::Truncated });
    }

    #[test]
    fn pieces_cut_anywhere_give_what_one_piece_gives(
        bytes in almost_resp(), expected in 0_usize..6, cuts in vec(any::<usize>(), 0..8),
    ) {
        let whole = Scanner::new(expected).feed(&bytes);
        prop_assert_eq!(fed_in_pieces(&bytes, expected, &cuts), whole);
        match (whole, decode_all(&bytes, expected)) {
            (Ok(0), decoded) => prop_assert_eq!(decoded.unwrap().len(), expected),
            (Ok(_), decoded) => prop_assert_eq!(decoded.unwrap_err().cause, Cause::Truncated),
            (Err(fault), decoded) => prop_assert_eq!(decoded.unwrap_err(), fault),
        }
    }

    #[test]
    fn replies_cut_anywhere_are_counted(
        values in vec(any_value(), 0..5), cuts in vec(any::<usize>(), 0..8),
    ) {
        let bytes = written(&values);
        prop_assert_eq!(fed_in_pieces(&bytes, values.len(), &cuts), Ok(0));
        prop_assert_eq!(fed_in_pieces(&bytes, values.len() + 3, &cuts), Ok(3));
    }

    #[test]
    fn noise_never_panics(bytes in vec(any::<u8>(), 0..200), expected in any::<usize>()) {
        let _ = decode_all(&bytes, expected);
        let _ = are_commands(&bytes, expected);
    }

    #[test]
    fn commands_are_read_back_as_the_arguments_they_were(
        commands in vec(vec(vec(any::<u8>(), 0..30), 1..5), 1..5),
    ) {
        let mut bytes = Vec::new();
        for command in &commands {
            let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
            encode::command(&mut bytes, &args);
        }
        prop_assert!(are_commands(&bytes, commands.len()));
        prop_assert!(!are_commands(&bytes, commands.len() + 1));
        prop_assert!(!are_commands(&bytes, commands.len() - 1));
        let as_bulk = |arg: &Vec<u8>| Value::Bulk(Some(arg.clone()));
        let values: Vec<_> = commands
            .iter()
            .map(|args| Value::Array(Some(args.iter().map(as_bulk).collect())))
            .collect();
        let expected: Vec<_> = values.iter().map(Value::as_reply).collect();
        prop_assert_eq!(decode_all(&bytes, commands.len()).unwrap(), expected);
    }
}

#[test]
fn a_lie_is_named_at_the_byte_where_it_shows() {
    let rows: &[(&[u8], usize, Cause)] = &[
        (b"*1000000000\r\n", 11, Cause::TooManyElements),
        (b"$67108864\r\n", 9, Cause::ReplyTooLong),
        (b"$-2\r\n", 3, Cause::NegativeLength),
        (b"*-5\r\n", 3, Cause::NegativeLength),
        (b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", 20, Cause::TooDeep),
        (b":12\n", 3, Cause::BadNumber),
        (b"+OK\n", 3, Cause::BadLineEnd),
        (b"+OK\r+OK\r\n", 4, Cause::BadLineEnd),
        (b"$3\r\nabcd\r\n", 7, Cause::BulkOverrun),
        (b"$3\r\nabc\rx", 8, Cause::BadLineEnd),
        (b":\r\n", 1, Cause::BadNumber),
        (b":-\r\n", 2, Cause::BadNumber),
        (b":--1\r\n", 2, Cause::BadNumber),
        (b":9223372036854775808\r\n", 19, Cause::BadNumber),
        (b"$99999999999999999999\r\n", 19, Cause::BadNumber),
        (b"PING\r\n", 0, Cause::UnknownType(b'P')),
        (b"HTTP/1.1 400 Bad Request\r\n", 0, Cause::UnknownType(b'H')),
        (b"_\r\n", 0, Cause::UnknownType(b'_')),
        (b":1\r\n:2\r\n", 4, Cause::Surplus),
        (b":1\r\n\r\n", 4, Cause::Surplus),
        (b"$3\r\nab", 6, Cause::Truncated),
        (b"", 0, Cause::Truncated),
    ];
    for &(bytes, offset, cause) in rows {
        let fault = decode_all(bytes, 1).unwrap_err();
        assert_eq!(
            fault,
            Malformed { offset, cause },
            "{:?}",
            bytes.escape_ascii().to_string()
        );
    }
}

#[test]
fn odd_but_honest_replies_are_taken() {
    let one = |bytes| decode_all(bytes, 1).unwrap().remove(0);
    assert_eq!(one(b"-\r\n"), Reply::Error(b""));
    assert_eq!(one(b"+\r\n"), Reply::Simple(b""));
    assert_eq!(one(b"$0\r\n\r\n"), Reply::Bulk(Some(b"")));
    assert_eq!(one(b"*0\r\n"), Reply::Array(Some(vec![])));
    assert_eq!(one(b":-9223372036854775808\r\n"), Reply::Integer(i64::MIN));
    assert_eq!(one(b":+9223372036854775807\r\n"), Reply::Integer(i64::MAX));
    assert_eq!(decode_all(b"", 0), Ok(vec![]));
}

#[test]
fn each_bound_takes_its_last_value_and_refuses_the_next() {
    let verdict = |bytes: Vec<u8>| {
        decode_all(&bytes, 1)
            .map(|_| ())
            .map_err(|fault| fault.cause)
    };
    let line = |length| format!("-{}\r\n", "e".repeat(length)).into_bytes();
    assert_eq!(verdict(line(MAX_LINE_BYTES)), Ok(()));
    assert_eq!(verdict(line(MAX_LINE_BYTES + 1)), Err(Cause::LineTooLong));

    let zeros = |length| format!(":{}\r\n", "0".repeat(length)).into_bytes();
    assert_eq!(verdict(zeros(MAX_LINE_BYTES)), Ok(()));
    assert_eq!(verdict(zeros(MAX_LINE_BYTES + 1)), Err(Cause::LineTooLong));

    let array = |n| [format!("*{n}\r\n").into_bytes(), b":1\r\n".repeat(n)].concat();
    assert_eq!(verdict(array(MAX_ELEMENTS)), Ok(()));
    assert_eq!(
        verdict(array(MAX_ELEMENTS + 1)),
        Err(Cause::TooManyElements)
    );

    let nested = |depth| [b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat();
    assert_eq!(verdict(nested(MAX_DEPTH)), Ok(()));
    assert_eq!(verdict(nested(MAX_DEPTH + 1)), Err(Cause::TooDeep));

    let bulk = |n: usize| [format!("${n}\r\n").as_bytes(), &vec![b'x'; n], b"\r\n"].concat();
    let around = bulk(MAX_REPLY_BYTES).len() - MAX_REPLY_BYTES;
    assert_eq!(verdict(bulk(MAX_REPLY_BYTES - around)), Ok(()));
    assert_eq!(
        verdict(bulk(MAX_REPLY_BYTES - around + 1)),
        Err(Cause::ReplyTooLong)
    );
}

#[test]
fn the_bound_on_a_reply_is_for_each_reply_and_not_for_the_stream() {
    let reply = [b"$60000\r\n", &[b'x'; 60_000][..], b"\r\n"].concat();
    assert_eq!(decode_all(&reply.repeat(3), 3).unwrap().len(), 3);
    let in_one_array = [b"*2\r\n", &reply.repeat(2)[..]].concat();
    assert_eq!(
        decode_all(&in_one_array, 1).unwrap_err().cause,
        Cause::ReplyTooLong
    );
}

#[test]
fn a_scanner_stays_at_its_first_fault() {
    let mut scanner = Scanner::new(2);
    let fault = scanner.feed(b":1\r\n?").unwrap_err();
    assert_eq!(
        fault,
        Malformed {
            offset: 4,
            cause: Cause::UnknownType(b'?')
        }
    );
    assert_eq!(scanner.feed(b":2\r\n"), Err(fault));
    assert_eq!(fault.to_string(), "unknown type byte 0x3f at byte 4");
}

#[test]
fn only_arrays_of_bulk_strings_are_commands() {
    assert!(are_commands(b"*1\r\n$4\r\nPING\r\n", 1));
    assert!(are_commands(b"", 0));
    let none: &[&[u8]] = &[
        b"PING\r\n",
        b"+PING\r\n",
        b"$4\r\nPING\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*1\r\n:1\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n*1\r\n$4\r\nPING\r\n",
        b"*1\r\n$4\r\nPING\r\nPING\r\n",
        b"*1\r\n$4\r\nPIN",
    ];
    for &bytes in none {
        assert!(
            !are_commands(bytes, 1),
            "{:?}",
            bytes.escape_ascii().to_string()
        );
    }
}
