//! Hostile and honest pickles, built octet by octet. None is ever loaded.

use super::Pickle;
use super::machine::{OPCODES_MAX, STACK_VALUES_MAX};
use crate::file::{FileInspector, FileView, Inspection};
use proptest::prelude::*;
use std::io::{Cursor, Write};
use zip::write::{SimpleFileOptions, ZipWriter};

/// One expectation: the rules that fire, sorted, and the reasons of the skips.
fn check(path: &str, bytes: &[u8]) -> (Vec<&'static str>, Vec<String>) {
    let seen = look(path, bytes);
    let mut rules: Vec<&str> = seen.observations.iter().map(|o| o.rule.id).collect();
    rules.sort_unstable();
    rules.dedup();
    (rules, seen.skips.into_iter().map(|s| s.reason).collect())
}

fn look(path: &str, bytes: &[u8]) -> Inspection {
    let file = FileView { path, bytes };
    if Pickle.wants(&file) {
        Pickle.inspect(&file)
    } else {
        Inspection::default()
    }
}

const DANGEROUS: &str = "admit/pickle-dangerous-global";
const UNRESOLVED: &str = "admit/pickle-unresolved";
const FRAME: &str = "admit/pickle-frame-straddle";
const ARCHIVE: &str = "admit/archive-mismatch";

#[track_caller]
fn hostile(path: &str, bytes: &[u8]) {
    assert!(
        check(path, bytes).0.contains(&DANGEROUS),
        "{path}: {:?}",
        check(path, bytes)
    );
}

#[track_caller]
fn clean(path: &str, bytes: &[u8]) {
    let seen = look(path, bytes);
    assert!(seen.observations.is_empty(), "{:?}", seen.observations);
    assert!(seen.skips.is_empty(), "{:?}", seen.skips);
    assert_eq!(seen.bytes_understood, bytes.len() as u64);
}

fn text(value: &str) -> Vec<u8> {
    let mut out = vec![0x8c, u8::try_from(value.len()).expect("short")];
    out.extend_from_slice(value.as_bytes());
    out
}

fn framed(body: &[u8]) -> Vec<u8> {
    [
        &[0x80, 4, 0x95][..],
        &(body.len() as u64).to_le_bytes(),
        body,
    ]
    .concat()
}

/// `os.system("echo")` by `STACK_GLOBAL`.
fn stack_global() -> Vec<u8> {
    framed(
        &[
            text("os"),
            text("system"),
            vec![0x93],
            text("echo"),
            b"\x85R.".to_vec(),
        ]
        .concat(),
    )
}

const PROTOCOL_0: &[u8] = b"cos\nsystem\np0\n(S'echo'\np1\ntp2\nRp3\n.";
const PROTOCOL_2: &[u8] =
    b"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00echoq\x01\x85q\x02Rq\x03.";

#[test]
fn os_system_is_found_in_every_protocol() {
    hostile("m.pkl", PROTOCOL_0);
    hostile("m.pkl", b"cos\nsystem\nq\x00(U\x04echoq\x01tq\x02Rq\x03.");
    hostile("m.pkl", PROTOCOL_2);
    hostile("m.pkl", b"\x80\x03cnt\nsystem\nX\x04\x00\x00\x00echo\x85R.");
    hostile("m.pkl", &stack_global());
    let mut five = stack_global();
    five[1] = 5;
    hostile("m.pkl", &five);
}

#[test]
fn names_are_followed_through_the_memo() {
    let body = [
        text("builtins"),
        b"\x94".to_vec(),
        text("eval"),
        b"\x94h\x00h\x01\x93".to_vec(),
        text("1"),
        b"\x85R.".to_vec(),
    ];
    hostile("m.pkl", &framed(&body.concat()));
    // Memo confusion: the entry is overwritten with another module before it is used.
    let body = [
        text("collections"),
        b"q\x00".to_vec(),
        text("os"),
        b"q\x00h\x00".to_vec(),
        text("system"),
        b"\x93)R.".to_vec(),
    ];
    hostile("m.pkl", &[b"\x80\x04".to_vec(), body.concat()].concat());
    // A key spelled as `int()` reads it.
    hostile("m.pkl", b"\x80\x04Vos\np+1_0\n0g 10\nVsystem\n\x93)R.");
}

#[test]
fn inst_and_obj_call_without_reduce() {
    hostile("m.pkl", b"(S'echo'\nios\nsystem\n.");
    hostile("m.pkl", b"(cos\nsystem\nS'echo'\no.");
    // The result is popped: the stack looks like a plain dict at the end.
    hostile("m.pkl", b"(S'echo'\nios\nsystem\n0}.");
    // At the end of a file the last octet stands in for the missing line feed.
    hostile("m.pkl", b"(S'echo'\nios\nsystemX");
}

#[test]
fn what_cannot_be_resolved_is_a_finding() {
    for bytes in [
        // Operands that are no text.
        &b"\x80\x04NN\x93."[..],
        b"\x80\x04K\x01K\x02\x93.",
        // The name is the result of a call.
        b"\x80\x04Vos\ncbuiltins\nstr\n)R\x93.",
        // An escape inside the name.
        b"\x80\x02V\\u006fs\nVsystem\n\x93)R.",
        // Extension registry.
        b"\x80\x02\x82\x01.",
        b"\x80\x02\x83\x01\x00.",
        b"\x80\x02\x84\x01\x00\x00\x00.",
        // The result of a call is called.
        b"\x80\x02cbuiltins\nset\n)R)R.",
        // Attributes of an imported class are written.
        b"\x80\x02cbuiltins\nset\n}b.",
    ] {
        assert!(check("m.pkl", bytes).0.contains(&UNRESOLVED), "{bytes:?}");
    }
}

#[test]
fn pickles_inside_strings_are_found() {
    let base64 = b"Y29zCnN5c3RlbQooUydlY2hvJwp0Ui4="; // cos\nsystem\n(S'echo'\ntR.
    let hex = b"636f730a73797374656d0a285327656368 6f270a74522e".to_vec();
    let hex: Vec<u8> = hex.into_iter().filter(|b| *b != b' ').collect();
    for inner in [
        &base64[..],
        &hex,
        PROTOCOL_0,
        PROTOCOL_2,
        b"(cos\nsystem\nS'echo'\no.",
    ] {
        let length = u8::try_from(inner.len()).expect("short");
        hostile(
            "m.pkl",
            &[b"\x80\x03}C", &[length][..], inner, b"K\x01s."].concat(),
        );
    }
    // Protocol 2 spells octets as text.
    let latin: Vec<u8> = PROTOCOL_2
        .iter()
        .flat_map(|b| char::from(*b).to_string().into_bytes())
        .collect();
    let length = u32::try_from(latin.len()).expect("short").to_le_bytes();
    let head = &b"\x80\x02c_codecs\nencode\nX"[..];
    hostile(
        "m.pkl",
        &[head, &length, &latin, b"X\x06\x00\x00\x00latin1\x86R."].concat(),
    );
}

#[test]
fn several_pickles_prefixes_and_what_follows_stop() {
    hostile("m.pkl", &[b"\x80\x02}.", PROTOCOL_2].concat());
    hostile("m.pkl", &[b"\x80\x02}.", PROTOCOL_0].concat());
    let (rules, skips) = check("m.pkl", &[b"garbage \xff\xff", PROTOCOL_2].concat());
    assert_eq!(
        (rules, skips),
        (vec![DANGEROUS], vec!["pickle-malformed".to_owned()])
    );
    let (rules, skips) = check("m.pkl", b"\x80\x02}.and then some");
    assert_eq!(
        (rules, skips),
        (vec![], vec!["pickle-trailing-data".to_owned()])
    );
    clean("m.pkl", b"\x80\x02}.\n\0\0");
}

/// What hides it: no name says "pickle", and the first octet is not one that an import begins with.
#[test]
fn a_harmless_first_opcode_hides_no_import_in_a_file_of_any_name() {
    const CALL: &[u8] = b"cos\nsystem\n(S'id'\ntR.";
    let long = b"N0".repeat(1_000);
    for first in [
        &b"N0"[..],
        b"I0\n0",
        b"]0",
        b"}0",
        b"F1\n0",
        b")0N0",
        b"",
        &long,
    ] {
        let bytes = [first, CALL].concat();
        assert!(first.is_empty() || !super::nested::raw(&bytes));
        for path in ["cache.txt", "weights", "state.json", "notes.md", "app.py"] {
            hostile(path, &bytes);
            hostile(path, &[&bytes[..bytes.len() - 1], b" and more"].concat());
        }
    }
    // A line that is no number ends the reader, but only from there on.
    hostile("cache.txt", b"N0cos\nsystem\n(S'id'\ntRI am late\n.");
    for first in [
        &b"I0x1f\n0"[..],
        b"I 1_0 \n0",
        b"F-inf\n0",
        b"FNaN\n0",
        b"L5L\n0",
        b"P1\n0",
    ] {
        hostile("cache.txt", &[first, CALL].concat());
    }
    hostile("state.json", b"N0(S'id'\nios\nsystem\n.");
    hostile("weights", b"N0\x8c\x02os\x8c\x06system\x93(S'id'\ntR.");
    assert_eq!(
        check("weights", b"N0cmy.own\nThing\n)R.").0,
        ["admit/pickle-unlisted-global"]
    );
}

#[test]
fn text_about_pickles_is_no_pickle() {
    for text in [
        &b"N0cos\nsystem\n"[..],
        b"N0cos\nsystem\n.",
        b"In a pickle, c imports:\ncos\nsystem\n(S'id'\ntR.\n",
        b"# Pickles\n\n```\ncos\nsystem\n(S'id'\ntR.\n```\n",
        b"import os\nos.system('id')\n",
        b"PAYLOAD = b\"N0cos\\nsystem\\n(S'id'\\ntR.\"\n",
        b"{\"a\": [1, 2]}",
        b"[]",
        b"{}\n",
        b"N.",
        b"Strings first.\ncos\nsystem\n(S'id'\ntR.\n",
        b"can you see\nhow it works\ncos\nsystem\n(S'id'\ntR.\n",
        b"Pickles run.\n0cos\nsystem\n(S'id'\ntR.\n",
        b"go to\ncos\nsystem\n(S'id'\ntR.\n",
        b"I am here.\nAnd there.\n",
        b"(see os.system)\n",
        b"]]]]",
        b"",
    ] {
        for path in ["cache.txt", "weights", "state.json", "notes.md", "app.py"] {
            assert_eq!(check(path, text), (vec![], vec![]), "{path}: {text:?}");
        }
    }
}

#[test]
fn no_source_of_this_crate_is_taken_for_a_pickle() {
    let mut folders = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"))];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).expect("a file");
                assert!(!super::examine::runs(&bytes), "{}", path.display());
                files += 1;
            }
        }
    }
    assert!(files > 20);
}

#[test]
fn padding_beyond_the_limits_is_a_skip_and_not_understood() {
    let pad = |n: usize| [&b"N".repeat(n)[..], b"0cos\nsystem\n(S'id'\ntR."].concat();
    hostile("cache.txt", &pad(STACK_VALUES_MAX - 3));
    let seen = look("cache.txt", &pad(STACK_VALUES_MAX + 1));
    assert_eq!(seen.bytes_understood, 0);
    assert_eq!(seen.skips[0].reason, "pickle-budget");
}

#[test]
fn damage_after_the_payload_does_not_hide_it() {
    for tail in [
        &b"\xff\xff"[..],
        b"",
        b"h\x63.",
        b"X\xff\xff\xff\x7f",
        b"0000.",
    ] {
        let bytes = [&PROTOCOL_2[..PROTOCOL_2.len() - 1], tail].concat();
        let (rules, skips) = check("m.pkl", &bytes);
        assert_eq!(rules, [DANGEROUS], "{tail:?}");
        assert_eq!(skips.len(), 1, "{tail:?}");
    }
    assert_eq!(
        check("m.pkl", b"\x80\x02}q\x00X\x09").1,
        ["pickle-truncated"]
    );
    assert_eq!(check("m.pkl", b"").1, [""; 0]);
}

/// The control off: a scanner that follows frames only one way sees a plain dict.
#[test]
fn frames_that_lie_are_read_both_ways() {
    // The frame ends inside BINBYTES: the straight reader takes two octets of it and goes on
    // behind; the C reader on a file drops them and takes its argument from behind the frame.
    let payload = b"cos\nsystem\n(S'echo'\ntR.";
    let mut bytes = vec![0x80, 4, 0x95];
    let inside = [b'B', 16, 0, 0, 0, b'x', b'x'];
    bytes.extend_from_slice(&(inside.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&inside);
    bytes.extend_from_slice(b"yyyyyyyyyyyyyyN.");
    bytes.extend_from_slice(payload);
    let (rules, _) = check("m.pkl", &bytes);
    assert!(rules.contains(&FRAME), "{rules:?}");
    let mut long = framed(b"N.");
    long[3] = 200;
    assert_eq!(check("m.pkl", &long).1, ["pickle-frame-lie"]);
    clean("m.pkl", &framed(b"N."));
}

#[test]
fn only_the_dropping_reader_sees_this_payload() {
    use super::machine::walk;
    use super::reader::Reading;
    // Straight: the length field of BINBYTES swallows the program. Dropping: the length is read
    // behind the frame, and the program runs.
    let mut bytes = vec![0x80, 4, 0x95, 3, 0, 0, 0, 0, 0, 0, 0, b'B', 43, 0];
    bytes.extend_from_slice(&[0, 0, 0, 0]);
    bytes.extend_from_slice(b"cos\nsystem\n(S'echo'\ntR.");
    bytes.resize(18 + 60, b'.');
    let straight = walk(&bytes, 0, Reading::Straight, OPCODES_MAX);
    assert!(straight.straddled && straight.globals.is_empty());
    let dropping = walk(&bytes, 0, Reading::DropRemainder, OPCODES_MAX);
    assert!(dropping.calls_danger());
    hostile("m.pkl", &bytes);
}

#[test]
fn honest_pickles_are_clean() {
    clean("m.pkl", b"(dp0\nS'a'\np1\n(lp2\nI1\naI2\nas.");
    clean("m.pkl", b"\x80\x03]q\x00(K\x01K\x02e.");
    clean(
        "m.pkl",
        &framed(&[b"}\x94(".to_vec(), text("k"), b"K\x01u.".to_vec()].concat()),
    );
    // numpy.array([1, 2]) as protocol 3 writes it.
    clean(
        "m.pkl",
        b"\x80\x03cnumpy.core.multiarray\n_reconstruct\nq\x00cnumpy\nndarray\nq\x01K\x00\x85q\x02\
          C\x01bq\x03\x87q\x04Rq\x05(K\x01K\x02\x85q\x06cnumpy\ndtype\nq\x07X\x02\x00\x00\x00i8\
          q\x08K\x00K\x01\x87q\x09Rq\x0a(K\x03X\x01\x00\x00\x00<q\x0bNNNJ\xff\xff\xff\xff\
          J\xff\xff\xff\xffK\x00tq\x0cb\x89C\x10\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0q\x0dtq\x0eb.",
    );
}

/// A torch state dict with one tensor.
const STATE: &[u8] = b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01X\x01\x00\x00\x00wq\x02\
    ctorch._utils\n_rebuild_tensor_v2\nq\x03((X\x07\x00\x00\x00storageq\x04ctorch\nFloatStorage\nq\
    \x05X\x01\x00\x00\x000q\x06X\x03\x00\x00\x00cpuq\x07K\x01tq\x08QK\x00K\x01\x85q\x09K\x01\x85\
    q\x0a\x89ccollections\nOrderedDict\nq\x0b)Rq\x0ctq\x0dRq\x0es.";

fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        writer
            .start_file(*name, SimpleFileOptions::default())
            .expect("a member");
        writer.write_all(bytes).expect("its octets");
    }
    writer.finish().expect("an archive").into_inner()
}

#[test]
fn an_honest_torch_archive_is_clean_and_a_hostile_member_is_not() {
    let honest = [
        ("a/data.pkl", STATE),
        ("a/data/0", &b"\x80\x02\0\0"[..]),
        ("a/version", b"3\n"),
    ];
    let bytes = archive(&honest);
    let seen = look("model.pt", &bytes);
    assert!(
        seen.observations.is_empty() && seen.skips.is_empty(),
        "{seen:?}"
    );
    assert_eq!(seen.bytes_understood, bytes.len() as u64);
    assert_eq!(
        seen.members.len(),
        1,
        "the version file goes to the other inspectors"
    );
    let hostile_too = [honest[0], honest[1], ("a/notes.txt", PROTOCOL_2), honest[2]];
    hostile("model.pt", &archive(&hostile_too));
    hostile("model.png", &archive(&hostile_too));
}

#[test]
fn containers_nest_to_the_limit_and_no_deeper() {
    let mut bytes = PROTOCOL_2.to_vec();
    for depth in 1..=super::DEPTH_MAX {
        bytes = archive(&[("inner.bin", &bytes)]);
        let (rules, skips) = check("outer.zip", &bytes);
        assert!(
            rules.contains(&DANGEROUS) && skips.is_empty(),
            "depth {depth}: {skips:?}"
        );
    }
    bytes = archive(&[("inner.bin", &bytes)]);
    assert_eq!(check("outer.zip", &bytes).1, ["nested-too-deep"]);
}

#[test]
fn a_bad_checksum_is_reported_and_does_not_drop_the_rest() {
    let mut bytes = archive(&[("a.txt", b"some text"), ("a/data.pkl", PROTOCOL_2)]);
    // Octets 14 to 17 of a local header and 16 to 19 of its directory entry hold the CRC.
    bytes[14] ^= 0xff;
    let entry = bytes
        .windows(4)
        .position(|w| w == b"PK\x01\x02")
        .expect("a directory");
    bytes[entry + 16] ^= 0xff;
    let (rules, _) = check("model.pt", &bytes);
    assert_eq!(rules, [ARCHIVE, DANGEROUS]);
}

#[test]
fn names_that_differ_between_the_headers_and_hidden_members_are_found() {
    let mut bytes = archive(&[("a/data.txt", PROTOCOL_0)]);
    let at = bytes
        .windows(10)
        .position(|w| w == b"a/data.txt")
        .expect("the local name");
    bytes[at + 7..at + 10].copy_from_slice(b"pkl");
    let (rules, _) = check("model.pt", &bytes);
    assert!(
        rules.contains(&ARCHIVE) && rules.contains(&DANGEROUS),
        "{rules:?}"
    );

    let hidden = archive(&[("evil.pkl", PROTOCOL_2)]);
    let local = hidden
        .windows(4)
        .position(|w| w == b"PK\x01\x02")
        .expect("a directory");
    let polyglot = [&hidden[..local], &archive(&[("a.txt", b"text")])].concat();
    let (rules, _) = check("model.pt", &polyglot);
    assert!(
        rules.contains(&ARCHIVE) && rules.contains(&DANGEROUS),
        "{rules:?}"
    );
    hostile(
        "model.pt",
        &[PROTOCOL_2, &archive(&[("a.txt", b"text")])].concat(),
    );
}

#[test]
fn encrypted_members_are_skips_even_when_the_flag_lies() {
    let mut bytes = archive(&[("a/data.pkl", PROTOCOL_2)]);
    bytes[6] |= 1;
    let entry = bytes
        .windows(4)
        .position(|w| w == b"PK\x01\x02")
        .expect("a directory");
    bytes[entry + 8] |= 1;
    let (rules, skips) = check("model.pt", &bytes);
    assert!(rules.contains(&DANGEROUS));
    assert_eq!(skips, ["archive-encrypted"]);
    assert!(look("model.pt", &bytes).bytes_understood < bytes.len() as u64);
}

#[test]
fn gzip_zlib_and_numpy_objects_are_opened_and_xz_is_a_skip() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(PROTOCOL_2).expect("memory");
    hostile("m.pkl.gz", &gzip.finish().expect("memory"));
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(PROTOCOL_2).expect("memory");
    hostile("m.joblib", &zlib.finish().expect("memory"));
    let header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n";
    let length = u16::try_from(header.len()).expect("short").to_le_bytes();
    let npy = |h: &[u8], data: &[u8]| [b"\x93NUMPY\x01\x00", &length[..], h, data].concat();
    hostile("a.npy", &npy(header, PROTOCOL_2));
    let plain: Vec<u8> = String::from_utf8_lossy(header)
        .replace("'|O'", "'<i'")
        .into_bytes();
    clean("a.npy", &npy(&plain, b"\x80\x02cos\nsystem\n"));
    hostile("a.npz", &archive(&[("a.npy", &npy(header, PROTOCOL_2))]));
    assert_eq!(
        check("m.pkl.xz", b"\xfd7zXZ\0....").1,
        ["compression-not-understood"]
    );
}

#[test]
fn the_opcode_budget_ends_the_walk_with_a_counted_skip() {
    use super::machine::{End, walk};
    use super::reader::Reading;
    let bytes = [&b"\x80\x02"[..], &b"N0".repeat(5), b"N."].concat();
    // PROTO, ten, N, STOP: thirteen opcodes.
    assert_eq!(walk(&bytes, 0, Reading::Straight, 13).end, End::Stop);
    assert_eq!(walk(&bytes, 0, Reading::Straight, 12).end, End::Budget);
}

#[test]
fn stack_and_marks_are_bounded() {
    use super::machine::{End, MARKS_MAX, STACK_VALUES_MAX, walk};
    use super::reader::Reading;
    for (opcode, limit) in [(b'N', STACK_VALUES_MAX), (b'(', MARKS_MAX)] {
        let mut bytes = vec![opcode; limit];
        assert_eq!(
            walk(&bytes, 0, Reading::Straight, OPCODES_MAX).end,
            End::Truncated
        );
        bytes.push(opcode);
        assert_eq!(
            walk(&bytes, 0, Reading::Straight, OPCODES_MAX).end,
            End::Budget
        );
    }
}

#[test]
fn memo_globals_and_literals_are_bounded() {
    use super::machine::{End, GLOBALS_MAX, LITERALS_MAX, MEMO_ENTRIES_MAX, walk};
    use super::reader::Reading;
    let end = |bytes: &[u8]| walk(bytes, 0, Reading::Straight, OPCODES_MAX).end;
    let mut memo = vec![0x94_u8; MEMO_ENTRIES_MAX + 1];
    memo[0] = b'N';
    assert_eq!(end(&memo), End::Truncated);
    memo.push(0x94);
    assert_eq!(end(&memo), End::Budget);
    let globals = |n: usize| (0..n).flat_map(|n| format!("cm\nn{n}\n0").into_bytes());
    assert_eq!(
        end(&globals(GLOBALS_MAX).collect::<Vec<u8>>()),
        End::Truncated
    );
    assert_eq!(
        end(&globals(GLOBALS_MAX + 1).collect::<Vec<u8>>()),
        End::Budget
    );
    let literal = b"C\x0e\x80\x04xxxxxxxxxxxx0";
    let dropped =
        |n: usize| walk(&literal.repeat(n), 0, Reading::Straight, OPCODES_MAX).literals_dropped;
    assert!(!dropped(LITERALS_MAX));
    assert!(dropped(LITERALS_MAX + 1));
}

#[test]
fn pickles_in_one_stream_are_bounded() {
    use super::STREAM_PICKLES_MAX;
    clean("m.pkl", &b"N.".repeat(STREAM_PICKLES_MAX));
    let (_, skips) = check("m.pkl", &b"N.".repeat(STREAM_PICKLES_MAX + 1));
    assert_eq!(skips, ["pickle-trailing-data"]);
}

#[test]
fn text_of_members_is_bounded() {
    let half = vec![b'x'; usize::try_from(super::MEMBER_TEXT_BYTES_MAX / 2).expect("fits")];
    let two = archive(&[("a.txt", &half), ("b.txt", &half)]);
    assert_eq!(check("t.zip", &two).1, [""; 0]);
    let three = archive(&[("a.txt", &half), ("b.txt", &half), ("c.txt", b"a")]);
    assert_eq!(check("t.zip", &three).1, ["archive-too-large"]);
}

#[test]
fn what_all_members_inflate_to_is_bounded() {
    let bytes = archive(&[("a.txt", &[b'a'; 600]), ("b.txt", &[b'b'; 400])]);
    let file = FileView {
        path: "t.zip",
        bytes: &bytes,
    };
    let at_limit = super::examine::within(&file, 1_000);
    assert!(at_limit.skips.is_empty(), "{:?}", at_limit.skips);
    let over = super::examine::within(&file, 999);
    assert_eq!(over.skips.len(), 1);
    assert_eq!(over.skips[0].reason, "archive-too-large");
    assert!(over.bytes_understood < bytes.len() as u64);
}

#[test]
fn pictures_in_archives_are_inert_and_a_pickle_that_calls_itself_one_is_not() {
    let bytes = archive(&[
        ("a.png", b"\x89PNG\r\n\x1a\n\xff"),
        ("zones/Rome", b"TZif2\0\xff"),
    ]);
    let seen = look("t.zip", &bytes);
    assert!(seen.skips.is_empty(), "{:?}", seen.skips);
    assert_eq!(seen.inert, [("media", 9), ("time-zones", 7)]);
    assert!(
        seen.bytes_understood < bytes.len() as u64,
        "inert is not understood"
    );
    hostile("t.zip", &archive(&[("a.png", PROTOCOL_2)]));
}

#[test]
fn saves_of_statistics_programs_are_no_damaged_pickles() {
    for magic in [&b"$FL2@(#)"[..], b"SR\0\x04"] {
        assert_eq!(check("data.sav", magic), (vec![], vec![]));
    }
    assert_eq!(check("data.sav", b"\x80\x04\x95").1, ["pickle-truncated"]);
}

#[test]
fn octets_without_line_feeds_are_not_searched_for_ever() {
    // Each `\x80\x02V` starts a probe that searches the rest for a line feed.
    let bytes = [&b"\x80\x02V".repeat(40_000)[..], &vec![b'a'; 200_000]].concat();
    let seen = look("m.pkl", &bytes);
    assert!(!seen.skips.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_octets_are_walked_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        for path in ["m.pkl", "m.pt", "m.bin", "m"] {
            let seen = look(path, &bytes);
            prop_assert!(seen.bytes_understood <= bytes.len() as u64);
        }
    }

    #[test]
    fn one_changed_octet_never_panics_and_never_overcounts(at in 0_usize..4096, to in any::<u8>()) {
        let archive = archive(&[("a/data.pkl", STATE), ("b.pkl", PROTOCOL_2), ("a/version", b"3")]);
        for whole in [&archive[..], STATE, PROTOCOL_2, &stack_global()] {
            let mut bytes = whole.to_vec();
            let at = at % bytes.len();
            bytes[at] = to;
            for path in ["m.pt", "m"] {
                let seen = look(path, &bytes);
                prop_assert!(seen.bytes_understood <= bytes.len() as u64);
            }
        }
    }

    #[test]
    fn a_cut_pickle_is_never_clean(cut in 1_usize..30) {
        let whole = PROTOCOL_2;
        let cut = cut.min(whole.len() - 1);
        let (rules, skips) = check("m.pkl", &whole[..cut]);
        prop_assert!(!rules.is_empty() || !skips.is_empty());
    }
}
