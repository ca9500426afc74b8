//! Hellos of a real client, cut in every way, and what is none.

use super::*;
use proptest::prelude::*;
use std::sync::Arc;

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [kind.to_be_bytes().as_slice(), &length, data].concat()
}

fn name_extension(names: &[&str]) -> Vec<u8> {
    let mut list = Vec::new();
    for name in names {
        list.push(0);
        list.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
        list.extend(name.as_bytes());
    }
    let mut data = u16::try_from(list.len()).unwrap().to_be_bytes().to_vec();
    data.extend(list);
    extension(SERVER_NAME, &data)
}

/// A `ClientHello` message, without record.
fn message(extensions: &[Vec<u8>]) -> Vec<u8> {
    let extensions = extensions.concat();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 2, 0x13, 0x01, 1, 0]);
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1, length[1], length[2], length[3]], body.as_slice()].concat()
}

/// Records of at most `size` octets each.
fn records(kind: u8, content: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in content.chunks(size) {
        bytes.extend([kind, 3, 1]);
        bytes.extend(u16::try_from(piece.len()).unwrap().to_be_bytes());
        bytes.extend(piece);
    }
    bytes
}

fn hello(name: &str) -> Vec<u8> {
    records(HANDSHAKE, &message(&[name_extension(&[name])]), 16_384)
}

fn heard(bytes: &[u8]) -> Result<Option<String>, HelloError> {
    Flight::default()
        .push(bytes)
        .map(|n| n.map(|n| n.to_string()))
}

/// What a real client says: rustls, with the whole of its own extensions.
fn real(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let server = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), server).unwrap();
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

#[test]
fn the_name_of_a_real_client_is_read() {
    assert_eq!(
        heard(&real("api.example.org")),
        Ok(Some("api.example.org".to_owned()))
    );
    // An address in the place of a name sends no server name at all.
    assert_eq!(heard(&real("93.184.216.34")), Err(HelloError::NoName));
}

#[test]
fn it_does_not_matter_how_a_hello_is_cut() {
    let whole = message(&[name_extension(&["api.example.org"])]);
    for size in [1, 2, 3, 4, 5, 50, 16_384] {
        let bytes = records(HANDSHAKE, &whole, size);
        assert_eq!(
            heard(&bytes),
            Ok(Some("api.example.org".to_owned())),
            "{size}"
        );
        let mut flight = Flight::default();
        let (last, before) = bytes.split_last().unwrap();
        for byte in before {
            assert_eq!(flight.push(&[*byte]), Ok(None));
        }
        assert!(flight.push(&[*last]).unwrap().is_some());
    }
}

#[test]
fn anything_but_exactly_one_plain_name_is_refused() {
    let of = |extensions: &[Vec<u8>]| heard(&records(HANDSHAKE, &message(extensions), 16_384));
    let name = || name_extension(&["a.org"]);
    assert_eq!(of(&[]), Err(HelloError::NoName));
    assert_eq!(of(&[name_extension(&[])]), Err(HelloError::Malformed));
    assert_eq!(
        of(&[name_extension(&["a.org", "b.org"])]),
        Err(HelloError::NoName)
    );
    assert_eq!(
        of(&[name_extension(&["10.0.0.1"])]),
        Err(HelloError::NoName)
    );
    assert_eq!(
        of(&[name_extension(&["a.org\0b"])]),
        Err(HelloError::NoName)
    );
    assert_eq!(of(&[name(), name()]), Err(HelloError::Malformed));
    assert_eq!(
        of(&[name(), extension(0xfe0d, &[0; 8])]),
        Err(HelloError::Encrypted)
    );
    assert_eq!(
        of(&[extension(99, &[1, 2, 3]), name()]),
        Ok(Some("a.org".to_owned()))
    );
}

#[test]
fn what_is_not_a_handshake_is_refused_at_its_first_octet() {
    for bytes in [
        b"GET / HTTP/1.1\r\n".as_slice(),
        b"S",
        b"\x17\x03\x03\0\x01x",
        b"\x80\x2e\x01",
    ] {
        assert_eq!(heard(bytes), Err(HelloError::NotTls));
    }
    assert_eq!(
        heard(&records(HANDSHAKE, &[2, 0, 0, 0], 9)),
        Err(HelloError::Malformed)
    );
    assert_eq!(heard(&[22, 3, 1, 0, 0]), Err(HelloError::Malformed));
    assert_eq!(heard(&[22, 3, 1, 0x40, 1]), Err(HelloError::Malformed));
    let mut trailing = message(&[name_extension(&["a.org"])]);
    trailing.push(1);
    assert_eq!(
        heard(&records(HANDSHAKE, &trailing, 16_384)),
        Err(HelloError::Malformed)
    );
}

#[test]
fn a_hello_is_read_at_the_limit_and_refused_one_octet_longer() {
    let bare = message(&[name_extension(&["a.org"]), extension(21, &[])]).len();
    let padded = |length: usize| {
        let padding = extension(21, &vec![0; length - (bare - MESSAGE_HEAD_BYTES)]);
        heard(&records(
            HANDSHAKE,
            &message(&[name_extension(&["a.org"]), padding]),
            16_000,
        ))
    };
    assert_eq!(padded(HELLO_BYTES_MAX), Ok(Some("a.org".to_owned())));
    assert_eq!(padded(HELLO_BYTES_MAX + 1), Err(HelloError::TooLong));
}

#[test]
fn a_second_hello_is_heard_with_and_without_the_dummy_change_between() {
    for between in [Vec::new(), records(CHANGE_CIPHER_SPEC, &[1], 1)] {
        let mut flight = Flight::default();
        assert!(flight.push(&hello("a.org")).unwrap().is_some());
        assert_eq!(flight.push(&between), Ok(None));
        let again = records(HANDSHAKE, &message(&[name_extension(&["b.org"])]), 7);
        assert_eq!(flight.push(&again).unwrap().unwrap().as_str(), "b.org");
    }
}

#[test]
fn after_the_handshake_nothing_is_looked_at() {
    let rest_of_tls12 = records(HANDSHAKE, &[16, 0, 0, 1, 0], 99);
    let application = records(23, &[0; 40], 99);
    for next in [rest_of_tls12, application] {
        let mut flight = Flight::default();
        assert!(flight.push(&hello("a.org")).unwrap().is_some());
        assert_eq!(flight.push(&next), Ok(None));
        assert!(flight.done);
        assert_eq!(flight.push(&vec![0xff; 100_000]), Ok(None));
        assert!(flight.waiting.is_empty());
    }
}

proptest! {
    #[test]
    fn no_octets_make_it_panic_or_keep_more_than_a_record(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        greeted in any::<bool>(),
        cut in 1_usize..40,
    ) {
        let mut flight = Flight::default();
        if greeted {
            flight.push(&hello("a.org")).unwrap();
        }
        for piece in bytes.chunks(cut) {
            if flight.push(piece).is_err() {
                break;
            }
            prop_assert!(flight.waiting.len() <= WAITING_BYTES_MAX);
        }
    }
}
