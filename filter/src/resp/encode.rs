//! Commands as bytes.

/// Appends one command to `out` as an array of bulk strings, lengths counted in bytes.
///
/// Whatever the arguments hold, quotes, CR LF or any other bytes, they stay arguments. Never the
/// inline form: a key with a quote in it would be a command of the client's choosing.
pub fn command(out: &mut Vec<u8>, args: &[&[u8]]) {
    header(out, b'*', args.len());
    for arg in args {
        header(out, b'$', arg.len());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// A type byte, a decimal length and CR LF, written without the detour through `fmt`: this runs
/// some ten times per request.
fn header(out: &mut Vec<u8>, kind: u8, length: usize) {
    out.push(kind);
    let digits = out.len();
    let mut rest = length;
    loop {
        out.push(b'0' | (rest % 10) as u8);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(digits..) {
        digits.reverse();
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(args: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        command(&mut out, args);
        out
    }

    #[test]
    fn a_command_is_an_array_of_bulk_strings() {
        assert_eq!(encoded(&[b"GET", b"k"]), b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    }

    #[test]
    fn lengths_count_bytes_not_characters() {
        assert_eq!(encoded(&["é€".as_bytes()]), "*1\r\n$5\r\né€\r\n".as_bytes());
    }

    #[test]
    fn an_argument_that_looks_like_protocol_stays_an_argument() {
        let evil = b"\r\n*1\r\n$8\r\nFLUSHALL\r\n";
        assert_eq!(
            encoded(&[evil]),
            [b"*1\r\n$20\r\n", &evil[..], b"\r\n"].concat()
        );
    }

    #[test]
    fn lengths_of_every_number_of_digits_are_decimal() {
        for length in [0, 9, 10, 99, 100, 65_536, 1_000_000, usize::MAX] {
            let mut out = Vec::new();
            header(&mut out, b'$', length);
            assert_eq!(out, format!("${length}\r\n").into_bytes());
        }
    }
}
