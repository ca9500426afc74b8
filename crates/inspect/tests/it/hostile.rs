//! Valid files with random damage: nothing panics, nothing is counted twice, and no look takes
//! longer than its limits allow.

use proptest::prelude::*;
use ringfence_inspect::{FileView, Inspected, inspect};
use std::io::{Cursor, Write as _};
use std::time::{Duration, Instant};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Generous for a slow machine with other work; what it bounds are loops that never end.
const ONE_LOOK_MAX: Duration = Duration::from_secs(20);

const PICKLE: &[u8] = b"\x80\x02}q\0X\x01\0\0\0aq\x01cos\nsystem\nq\x02X\x04\0\0\0echoq\x03\x85Rs.";
const DOCKERFILE: &str = r#"# syntax=x
ARG A=1
FROM a:${A} AS b
RUN --mount=type=cache x \
 && y
RUN <<EOF
USER root
EOF
FROM c
USER 0:0
CMD ["x", "--host", "0.0.0.0"]
"#;
const COMPOSE: &str = r#"x-a: &a
  privileged: true
services:
  web:
    <<: *a
    image: x
    ports:
      - "${P:-80}:80"
      - target: 1
        published: 2
    cap_add: [ALL]
    volumes:
      - /var/run/docker.sock:/s
    user: "0"
    environment:
      HOST: '::'
"#;
const PROGRAM: &str = r"import socket

class A:
    def f(self):
        '''text'''
        s.bind(('', 80))
        run(host='0.0.0.0')  # here
        password = 'x'
";

fn archive(members: &[(&str, &[u8])], method: zip::CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in members {
        writer.start_file(*name, options).expect("a member");
        writer.write_all(bytes).expect("its octets");
    }
    writer.finish().expect("an archive").into_inner()
}

fn packed(members: &[(&str, &[u8])]) -> Vec<u8> {
    archive(members, zip::CompressionMethod::Deflated)
}

fn look(path: &str, bytes: &[u8]) -> Inspected {
    let started = Instant::now();
    let seen = inspect(&FileView { path, bytes });
    assert!(started.elapsed() < ONE_LOOK_MAX, "{path}");
    assert!(seen.bytes_understood <= bytes.len() as u64, "{path}");
    seen
}

/// One act of damage.
#[derive(Clone, Debug)]
enum Damage {
    Set(usize, u8),
    Cut(usize),
    Remove(usize, usize),
    Double(usize, usize),
    Insert(usize, Vec<u8>),
}

/// Words that parsers of these formats wait for.
const WORDS: &[&[u8]] = &[
    b"PK\x01\x02",
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"PK\x06\x06",
    b"\xff\xff\xff\xff",
    b"\x80\x05\x95",
    b"\x8d",
    b"\n",
    b"<<EOF\n",
    b"\\\n",
    b"'''",
    b"\"",
    b"${",
    b"::",
    b"- ",
    b"\t",
    b"\xef\xbb\xbf",
    b"\0",
];

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<usize>;
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(n, b)| Damage::Set(n, b)),
        1 => at().prop_map(Damage::Cut),
        2 => (at(), 1..64_usize).prop_map(|(n, l)| Damage::Remove(n, l)),
        2 => (at(), 1..256_usize).prop_map(|(n, l)| Damage::Double(n, l)),
        2 => (at(), prop::collection::vec(any::<u8>(), 1..16)).prop_map(|(n, b)| Damage::Insert(n, b)),
        2 => (at(), prop::sample::select(WORDS)).prop_map(|(n, b)| Damage::Insert(n, b.to_vec())),
    ]
}

fn damaged(whole: &[u8], acts: &[Damage]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for act in acts {
        let length = bytes.len();
        let place = |n: &usize| n % (length + 1);
        match act {
            Damage::Set(n, b) => {
                if let Some(slot) = bytes.get_mut(place(n)) {
                    *slot = *b;
                }
            }
            Damage::Cut(n) => bytes.truncate(place(n)),
            Damage::Remove(n, l) => {
                bytes.drain(place(n)..(place(n) + l).min(length));
            }
            Damage::Double(n, l) => {
                let copy = bytes[place(n)..(place(n) + l).min(length)].to_vec();
                bytes.splice(place(n)..place(n), copy);
            }
            Damage::Insert(n, more) => {
                bytes.splice(place(n)..place(n), more.iter().copied());
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_archives_and_pickles_are_looked_at_and_left(
        acts in prop::collection::vec(damage(), 1..6)
    ) {
        let inner = packed(&[("a.txt", b"some words"), ("b.pkl", PICKLE)]);
        let outer = packed(&[("a/data.pkl", PICKLE), ("in.zip", &inner), ("a/version", b"3\n")]);
        for (path, whole) in [("m.pt", &outer[..]), ("m.pkl", PICKLE), ("m.zip", &inner)] {
            look(path, &damaged(whole, &acts));
        }
    }

    #[test]
    fn damaged_text_is_looked_at_and_left(acts in prop::collection::vec(damage(), 1..6)) {
        for (path, whole) in [
            ("Dockerfile", DOCKERFILE),
            ("compose.yaml", COMPOSE),
            ("app.py", PROGRAM),
            ("app.js", PROGRAM),
            ("app.toml", COMPOSE),
            (".env", PROGRAM),
        ] {
            look(path, &damaged(whole.as_bytes(), &acts));
        }
    }
}

#[test]
fn undamaged_they_are_what_they_should_be() {
    // Without this the laws above could hold because nothing is ever read.
    let rules = |path: &str, bytes: &[u8]| -> Vec<String> {
        let seen = look(path, bytes).findings;
        seen.iter().map(|f| f.rule.to_string()).collect()
    };
    assert!(rules("m.pkl", PICKLE).contains(&"admit/pickle-dangerous-global".to_owned()));
    let inner = packed(&[("b.pkl", PICKLE)]);
    assert_eq!(rules("m.zip", &packed(&[("in.zip", &inner)])).len(), 1);
    assert_eq!(rules("Dockerfile", DOCKERFILE.as_bytes()).len(), 2);
    assert!(rules("compose.yaml", COMPOSE.as_bytes()).len() >= 5);
    assert_eq!(rules("app.py", PROGRAM.as_bytes()).len(), 2);
}

#[test]
fn every_entry_of_a_directory_may_name_the_same_octets() {
    // 5,000 entries for one megabyte packed in an unknown way: copied for each, they are 5 GB.
    let member = vec![7_u8; 1 << 20];
    let mut bytes = archive(&[("a.dat", &member)], zip::CompressionMethod::Stored);
    let place = |bytes: &[u8], magic: &[u8]| {
        bytes
            .windows(4)
            .rposition(|w| w == magic)
            .expect("a record")
    };
    let (record, end) = (place(&bytes, b"PK\x01\x02"), place(&bytes, b"PK\x05\x06"));
    // Method 93 (zstd) in both headers.
    bytes[record + 10] = 93;
    bytes[8] = 93;
    let directory = bytes[record..end].repeat(5_000);
    let mut tail = bytes[end..].to_vec();
    tail[12..16].copy_from_slice(&u32::try_from(directory.len()).expect("small").to_le_bytes());
    bytes.truncate(record);
    bytes.extend_from_slice(&directory);
    bytes.extend_from_slice(&tail);
    let seen = inspect(&FileView {
        path: "a.zip",
        bytes: &bytes,
    });
    assert!(seen.skips.iter().any(|s| s.reason == "archive-too-large"));
}
