//! The laws of the framers: where the input was cut does not matter, and no octet is lost.

use bytes::Bytes;
use proptest::prelude::*;
use ringfence_net::{ndjson, sse};

fn cut(input: &[u8], mut cuts: Vec<usize>) -> Vec<&[u8]> {
    for c in &mut cuts {
        *c %= input.len() + 1;
    }
    cuts.sort_unstable();
    let mut pieces = Vec::new();
    let mut start = 0;
    for c in cuts {
        pieces.push(&input[start..c]);
        start = c;
    }
    pieces.push(&input[start..]);
    pieces
}

fn events(pieces: &[&[u8]]) -> (Vec<sse::Event>, Option<sse::Completeness>) {
    let mut parser = sse::Parser::new();
    let mut read = Vec::new();
    for piece in pieces {
        parser.push(piece);
        while let Some(event) = parser.next_event().unwrap() {
            read.push(event);
        }
    }
    let last = parser.finish();
    let how = last.as_ref().map(|(_, how)| *how);
    read.extend(last.map(|(event, _)| event));
    (read, how)
}

fn lines(pieces: &[&[u8]]) -> Vec<ndjson::Line> {
    let mut parser = ndjson::Parser::new();
    let mut read = Vec::new();
    for piece in pieces {
        parser.push(piece);
        while let Some(line) = parser.next_line().unwrap() {
            read.push(line);
        }
    }
    read.extend(parser.finish());
    read
}

/// Streams made of what matters to the framers, and any octets between.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(b"data: ".to_vec()),
        Just(b"event: x".to_vec()),
        Just(b": c".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n\n".to_vec()),
        Just("\u{feff}".as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn events_do_not_depend_on_the_cuts_and_keep_every_octet(
        input in stream(), cuts in prop::collection::vec(any::<usize>(), 0..12)
    ) {
        let (whole, _) = events(&[&input]);
        let (read, _) = events(&cut(&input, cuts));
        let raw: Vec<u8> = read.iter().flat_map(|e| e.raw.to_vec()).collect();
        prop_assert_eq!(&raw, &input);
        prop_assert_eq!(read, whole);
    }

    #[test]
    fn lines_do_not_depend_on_the_cuts_and_keep_every_octet(
        input in stream(), cuts in prop::collection::vec(any::<usize>(), 0..12)
    ) {
        let read = lines(&cut(&input, cuts));
        let raw: Vec<u8> = read.iter().flat_map(|l| l.raw.to_vec()).collect();
        prop_assert_eq!(&raw, &input);
        prop_assert_eq!(read, lines(&[&input]));
    }

    #[test]
    fn what_is_encoded_reads_back_as_one_event(data in "[^\r]*", name in "[a-z]{1,8}") {
        let encoded: Bytes = sse::encode(Some(&name), &data);
        let (read, rest) = events(&[&encoded]);
        prop_assert_eq!(rest, None);
        prop_assert_eq!(read.len(), 1);
        prop_assert_eq!(read[0].data.as_deref(), Some(data.as_str()));
        prop_assert_eq!(read[0].name.as_deref(), Some(name.as_str()));
        prop_assert_eq!(&read[0].raw, &encoded);
    }
}
