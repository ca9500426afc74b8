//! Messages on the wire, chains of aliases, and octets that are no message.

use super::*;
use proptest::prelude::*;

fn host(text: &str) -> HostName {
    text.parse().unwrap()
}

/// An answer section made by hand: pieces behind the question.
fn answer(question: &Question, flags: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = question.message(flags, &[], 0);
    bytes[6..8].copy_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
    for record in records {
        bytes.extend(record);
    }
    bytes
}

fn record_of(name: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = name.to_vec();
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1, 0, 0, 0, 60]);
    bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend(data);
    bytes
}

const ASKED: [u8; 2] = [0xc0, 12];

#[test]
fn a_question_survives_the_wire_and_is_answered_with_its_own_octets() {
    let asked = Question::about(7, &host("api.example.org"), TYPE_A);
    let bytes = asked.to_bytes();
    assert_eq!(Question::parse(&bytes).unwrap(), asked);
    let address = Ipv4Addr::new(198, 18, 0, 1);
    let said = Answer::parse(&asked.answer(Rcode::NoError, &[address], 30), &asked).unwrap();
    let expected = Answer {
        rcode: Rcode::NoError,
        addresses: vec![address.into()],
        ttl_s: 30,
    };
    assert_eq!(said, expected);
    // Mixed case (0x20) comes back as it was asked.
    let mut shouted = bytes;
    shouted[13] = b'A';
    let heard = Question::parse(&shouted).unwrap();
    assert_eq!(heard.name, Some(host("api.example.org")));
    assert_eq!(heard.answer(Rcode::NxDomain, &[], 0)[13], b'A');
}

/// Taken from the reference example of RFC 1035, section 4.1.4, in spirit: pointers into pointers.
#[test]
fn aliases_are_followed_through_pointers_and_strangers_are_not_believed() {
    let asked = Question::about(1, &host("www.example.org"), TYPE_A);
    let alias = record_of(&ASKED, TYPE_CNAME, b"\x03cdn\xc0\x10");
    let cdn = b"\x03cdn\xc0\x10".as_slice();
    let there = record_of(cdn, TYPE_A, &[93, 184, 216, 34]);
    let stranger = record_of(b"\x04evil\xc0\x10", TYPE_A, &[10, 0, 0, 1]);
    let bytes = answer(&asked, 0x8180, &[stranger, alias, there]);
    let said = Answer::parse(&bytes, &asked).unwrap();
    assert_eq!(said.addresses, ["93.184.216.34".parse::<IpAddr>().unwrap()]);
    assert_eq!(said.ttl_s, 60);
}

#[test]
fn a_chain_of_aliases_is_followed_up_to_the_limit() {
    let asked = Question::about(1, &host("a0.org"), TYPE_A);
    let wire = |n: usize| {
        [
            &[2, b'a', b'0' + u8::try_from(n).unwrap()][..],
            b"\x03org\0",
        ]
        .concat()
    };
    let chain = |length: usize| {
        let mut records: Vec<_> = (0..length)
            .map(|n| record_of(&wire(n), TYPE_CNAME, &wire(n + 1)))
            .collect();
        records.push(record_of(&wire(length), TYPE_A, &[1, 1, 1, 1]));
        let said = Answer::parse(&answer(&asked, 0x8180, &records), &asked).unwrap();
        said.addresses.len()
    };
    assert_eq!(chain(ALIASES_MAX), 1);
    assert_eq!(chain(ALIASES_MAX + 1), 0);
    let around = record_of(&wire(0), TYPE_CNAME, &wire(0));
    let said = Answer::parse(&answer(&asked, 0x8180, &[around]), &asked).unwrap();
    assert!(said.addresses.is_empty());
}

#[test]
fn answers_to_other_questions_are_not_believed() {
    let asked = Question::about(1, &host("a.org"), TYPE_A);
    let fine = asked.answer(Rcode::NoError, &[Ipv4Addr::LOCALHOST], 1);
    assert!(Answer::parse(&fine, &asked).is_ok());
    let others = [
        Question::about(2, &host("a.org"), TYPE_A),
        Question::about(1, &host("b.org"), TYPE_A),
        Question::about(1, &host("a.org"), TYPE_AAAA),
    ];
    for other in others {
        assert_eq!(Answer::parse(&fine, &other), Err(Malformed));
    }
    let truncated = asked.message(0x8180 | 0x0200, &[], 0);
    assert_eq!(Answer::parse(&truncated, &asked), Err(Malformed));
    assert_eq!(Answer::parse(&asked.to_bytes(), &asked), Err(Malformed));
}

#[test]
fn pointers_only_lead_backwards() {
    let asked = Question::about(1, &host("a.org"), TYPE_A);
    let length = u8::try_from(asked.to_bytes().len()).unwrap();
    for pointer in [
        [0xc0, length],
        [0xc0, length + 1],
        [0xc0, 0],
        [0xc3, 0xff],
        [0xc0, 11],
    ] {
        let bytes = answer(
            &asked,
            0x8180,
            &[record_of(&pointer, TYPE_A, &[1, 1, 1, 1])],
        );
        assert_eq!(Answer::parse(&bytes, &asked), Err(Malformed), "{pointer:?}");
    }
}

#[test]
fn what_is_no_question_is_refused() {
    let asked = Question::about(1, &host("a.org"), TYPE_A).to_bytes();
    let changed = |at: usize, to: u8| {
        let mut bytes = asked.clone();
        bytes[at] = to;
        Question::parse(&bytes)
    };
    // An answer, another operation, no question, two questions, another class.
    for (at, to) in [(2, 0x81), (2, 0x29), (5, 0), (5, 2), (asked.len() - 1, 3)] {
        assert_eq!(changed(at, to), Err(Malformed), "{at} {to}");
    }
    assert_eq!(Question::parse(&asked[..asked.len() - 1]), Err(Malformed));
    let mut padded = asked.clone();
    padded.resize(MESSAGE_BYTES_MAX, 0);
    assert!(Question::parse(&padded).is_ok());
    padded.push(0);
    assert_eq!(Question::parse(&padded), Err(Malformed));
}

#[test]
fn names_that_are_no_host_names_can_be_asked_and_name_no_host() {
    let label = [0x03, b'a', b'.', b'b', 0x03, b'o', b'r', b'g', 0];
    let mut bytes = Question::about(1, &host("x.org"), TYPE_A).to_bytes();
    bytes.truncate(HEADER_BYTES);
    bytes.extend(label);
    bytes.extend([0, 1, 0, 1]);
    assert_eq!(Question::parse(&bytes).unwrap().name, None);
}

#[test]
fn garbage_is_answered_with_its_id_and_answers_are_not_answered() {
    assert_eq!(malformed(&[1, 2]), None);
    assert_eq!(malformed(&[1, 2, 0x80, 0]), None);
    let said = malformed(&[1, 2, 0, 0]).unwrap();
    assert_eq!((said.len(), &said[..4]), (12, [1, 2, 0x80, 1].as_slice()));
}

proptest! {
    #[test]
    fn no_octets_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let asked = Question::about(1, &host("a.org"), TYPE_A);
        let _any = (Question::parse(&bytes).is_ok(), Answer::parse(&bytes, &asked).is_ok());
        let mut behind = asked.message(0x8180, &[], 0);
        behind[7] = 3;
        behind.extend(&bytes);
        let _any = Answer::parse(&behind, &asked).is_ok();
    }
}
