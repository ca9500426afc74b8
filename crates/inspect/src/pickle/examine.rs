//! From octets to observations: which container, which certainty, which skips.

use super::allow::Standing;
use super::archive::{self, Content, Entry};
use super::machine::{End, GlobalUse, OCTETS_PER_OPCODE, OPCODES_MAX, Oddity, Walk, walk};
use super::reader::{Reading, Span};
use super::{
    DEPTH_MAX, INFLATED_BYTES_MAX, MEMBER_TEXT_BYTES_MAX, PICKLE_EXTENSIONS, STREAM_PICKLES_MAX,
    nested, rules,
};
use crate::file::{FileView, Inspection, Member};
use crate::inert::inert;
use crate::rule::{Observation, Rule};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use ringfence_core::finding::Subject;
use ringfence_core::severity::Confidence;

/// Torch's legacy magic number 0x1950a86a20f9469cfc6c, little-endian.
const TORCH_LEGACY_MAGIC: &[u8] = &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// Pickles in front of the storages of a legacy torch file: magic, version, system, data, keys.
const TORCH_LEGACY_PICKLES: usize = 5;
/// Opcodes after which octets with a pickle's magic are taken for one even if they are damaged.
const PLAUSIBLE_OPCODES: u64 = 8;

/// What wraps the octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    Zip,
    Gzip,
    Npy,
    /// A compression or archive that is not read here.
    Foreign,
}

/// Recognises a container by content.
pub(super) fn container(bytes: &[u8]) -> Option<Container> {
    const FOREIGN: &[&[u8]] = &[
        b"\xfd7zXZ\0",
        b"BZh",
        b"\x28\xb5\x2f\xfd",
        b"\x04\x22\x4d\x18",
        b"7z\xbc\xaf\x27\x1c",
        b"Rar!\x1a\x07",
    ];
    if bytes.starts_with(b"PK\x03\x04") || archive::end_record(bytes).is_some() {
        Some(Container::Zip)
    } else if bytes.starts_with(b"\x1f\x8b") {
        Some(Container::Gzip)
    } else if bytes.starts_with(b"\x93NUMPY") {
        Some(Container::Npy)
    } else if FOREIGN.iter().any(|magic| bytes.starts_with(magic)) {
        Some(Container::Foreign)
    } else {
        None
    }
}

/// Whether octets are known to be a pickle or only could be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Certainty {
    Sure,
    Maybe,
}

/// Where octets came from.
#[derive(Clone, Debug)]
struct Place<'a> {
    path: &'a str,
    member: String,
    depth: u32,
    hidden: bool,
}

impl Place<'_> {
    fn shown(&self) -> String {
        match self.member.as_str() {
            "" => self.path.to_owned(),
            member => format!("{}!{member}", self.path),
        }
    }

    fn inside(&self, member: &str) -> Self {
        let member = match self.member.as_str() {
            "" => member.to_owned(),
            outer => format!("{outer}!{member}"),
        };
        Self {
            member,
            depth: self.depth + 1,
            ..self.clone()
        }
    }
}

struct Examination {
    out: Inspection,
    opcodes_left: u64,
    inflated_left: u64,
    text_left: u64,
}

/// Examines a file.
pub(super) fn file(file: &FileView<'_>) -> Inspection {
    within(file, INFLATED_BYTES_MAX)
}

/// Examines a file whose members may inflate to so many octets together.
pub(super) fn within(file: &FileView<'_>, inflated_bytes_max: u64) -> Inspection {
    let mut examination = Examination {
        out: Inspection::default(),
        opcodes_left: OPCODES_MAX,
        inflated_left: inflated_bytes_max,
        text_left: MEMBER_TEXT_BYTES_MAX,
    };
    let place = Place {
        path: file.path,
        member: String::new(),
        depth: 0,
        hidden: false,
    };
    let understood = examination.blob(&place, file.name(), file.bytes);
    examination.out.bytes_understood = understood;
    examination.out
}

fn says_pickle(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase());
    extension.is_some_and(|e| PICKLE_EXTENSIONS.contains(&e.as_str()))
}

impl Examination {
    /// Examines octets of any kind; returns how many of them were understood.
    fn blob(&mut self, place: &Place<'_>, name: &str, bytes: &[u8]) -> u64 {
        if place.depth > DEPTH_MAX {
            self.out
                .skip(&place.shown(), "nested-too-deep", bytes.len() as u64);
            return 0;
        }
        match container(bytes) {
            Some(Container::Zip) => self.zip(place, name, bytes),
            Some(Container::Gzip) => {
                let limit = self.inflated_left;
                let content =
                    archive::inflate(MultiGzDecoder::new(bytes), bytes.len() as u64, limit);
                self.inflated(place, name.trim_end_matches(".gz"), bytes, &content)
            }
            Some(Container::Npy) => self.npy(place, bytes),
            Some(Container::Foreign) => {
                self.out.skip(
                    &place.shown(),
                    "compression-not-understood",
                    bytes.len() as u64,
                );
                0
            }
            None if says_pickle(name) && zlib(bytes) => {
                let limit = self.inflated_left;
                let content = archive::inflate(ZlibDecoder::new(bytes), bytes.len() as u64, limit);
                self.inflated(place, name, bytes, &content)
            }
            None => {
                // Python's own path files are text and end in `.pth` too.
                let path_file = name.to_ascii_lowercase().ends_with("pth")
                    && !nested::raw(bytes)
                    && FileView { path: name, bytes }.text().is_some();
                // `.sav` is also what SPSS and IDL save.
                let foreign = [&b"$FL2"[..], b"$FL3", b"SR\0"]
                    .iter()
                    .any(|magic| bytes.starts_with(magic));
                let sure = says_pickle(name) && !path_file && !foreign;
                self.stream(
                    place,
                    bytes,
                    if sure {
                        Certainty::Sure
                    } else {
                        Certainty::Maybe
                    },
                )
            }
        }
    }

    fn inflated(&mut self, place: &Place<'_>, name: &str, packed: &[u8], inner: &Content) -> u64 {
        self.inflated_left = self.inflated_left.saturating_sub(inner.bytes.len() as u64);
        self.out.items += 1;
        let (before, inert) = (self.out.skips.len(), self.out.inert.len());
        if inner.cut {
            self.out
                .skip(&place.shown(), "archive-too-large", packed.len() as u64);
        } else if inner.corrupt {
            self.out
                .skip(&place.shown(), "archive-corrupt", packed.len() as u64);
        }
        let within = place.inside("inflated");
        let asked = self.out.skips.len();
        let understood = self.blob(&within, name, &inner.bytes);
        if understood < inner.bytes.len() as u64 && self.out.skips.len() == asked {
            self.hand_on(&within, &inner.bytes);
        }
        if self.out.skips.len() == before && self.out.inert.len() == inert {
            packed.len() as u64
        } else {
            0
        }
    }

    /// Text goes to the other inspectors; what is neither is a skip.
    fn hand_on(&mut self, place: &Place<'_>, bytes: &[u8]) {
        let path = place.shown();
        let length = bytes.len() as u64;
        let view = FileView { path: &path, bytes };
        if let Some(kind) = inert(&view) {
            self.out.inert.push((kind, length));
        } else if view.text().is_none() {
            self.out.skip(&path, "member-not-understood", length);
        } else if length > self.text_left {
            self.out.skip(&path, "archive-too-large", length);
        } else {
            self.text_left -= length;
            self.out.members.push(Member {
                path,
                bytes: bytes.to_vec(),
            });
        }
    }

    /// A numpy array (NEP 1): a header that is a Python literal, then raw data or a pickle.
    fn npy(&mut self, place: &Place<'_>, bytes: &[u8]) -> u64 {
        let wide = bytes.get(6).is_some_and(|major| *major >= 2);
        let length = if wide {
            bytes.get(8..12)
        } else {
            bytes.get(8..10)
        };
        let length = length.map(|b| b.iter().rev().fold(0, |n, b| n << 8 | usize::from(*b)));
        let start = if wide { 12 } else { 10 };
        let end = length.and_then(|n| n.checked_add(start));
        let Some((header, data)) = end.and_then(|e| bytes.get(start..e).zip(bytes.get(e..))) else {
            self.out
                .skip(&place.shown(), "pickle-truncated", bytes.len() as u64);
            return 0;
        };
        // `|O`, or a record with an object field: the data is a pickle.
        let objects = header
            .windows(2)
            .any(|w| w == b"|O" || w == b"'O" || w == b"\"O");
        if objects {
            let inner = self.stream(&place.inside("npy"), data, Certainty::Sure);
            return (bytes.len() - data.len()) as u64 + inner;
        }
        bytes.len() as u64
    }

    fn zip(&mut self, place: &Place<'_>, name: &str, bytes: &[u8]) -> u64 {
        let directory = archive::read(bytes);
        let mut lost = 0;
        if directory.damaged {
            self.out.skip(&place.shown(), "archive-corrupt", 0);
        }
        if directory.too_many {
            self.out.skip(&place.shown(), "archive-too-many-members", 0);
        }
        for entry in &directory.entries {
            lost += self.member(place, entry, bytes);
        }
        for gap in directory.gaps {
            let octets = bytes.get(gap.clone()).unwrap_or_default();
            if octets.iter().all(|b| *b == 0) {
                continue;
            }
            // A prefix or a gap can be a program of its own for another reader.
            let certainty = if gap.start == 0 && says_pickle(name) {
                Certainty::Sure
            } else {
                Certainty::Maybe
            };
            let inner = place.inside(&format!("gap@{}", gap.start));
            let seen = self.stream(&inner, octets, certainty);
            if seen < octets.len() as u64 {
                lost += octets.len() as u64 - seen;
                self.out
                    .skip(&place.shown(), "archive-gap", octets.len() as u64 - seen);
            }
        }
        (bytes.len() as u64).saturating_sub(lost)
    }

    /// Examines a member; returns how many packed octets were not understood.
    fn member(&mut self, place: &Place<'_>, entry: &Entry, bytes: &[u8]) -> u64 {
        self.out.items += 1;
        let packed = entry.data.len() as u64;
        let within = place.inside(&entry.name);
        self.contradictions(&within, entry);
        if entry.name.ends_with('/') && packed == 0 {
            return 0;
        }
        let content = archive::content(bytes, entry, self.inflated_left);
        self.inflated_left = self
            .inflated_left
            .saturating_sub(content.bytes.len() as u64);
        let (skips, inert) = (self.out.skips.len(), self.out.inert.len());
        if content.cut {
            self.out.skip(&within.shown(), "archive-too-large", packed);
        } else if entry.encrypted {
            self.out.skip(&within.shown(), "archive-encrypted", packed);
        } else if content.unsupported {
            self.out
                .skip(&within.shown(), "compression-not-understood", packed);
        } else if content.corrupt {
            self.odd_archive(&within, "the checksum or size of this member is wrong");
        }
        let name = match &entry.local_name {
            Some(local) if says_pickle(local) => local.as_str(),
            _ => entry.name.as_str(),
        };
        let understood = self.blob(&within, name, &content.bytes);
        let explained = self.out.skips.len() > skips || tensor(&entry.name);
        if understood < content.bytes.len() as u64 && !explained {
            self.hand_on(&within, &content.bytes);
        }
        if self.out.skips.len() > skips || self.out.inert.len() > inert {
            packed
        } else {
            0
        }
    }

    fn contradictions(&mut self, place: &Place<'_>, entry: &Entry) {
        if let Some(local) = &entry.local_name {
            self.odd_archive(
                place,
                &format!("its local header calls this member {local}"),
            );
        } else if entry.mismatch {
            self.odd_archive(place, "directory and local header of this member disagree");
        }
    }

    fn odd_archive(&mut self, place: &Place<'_>, what: &str) {
        let subject = subject(place, "archive-mismatch", None);
        self.out
            .observe(Observation::new(&rules::ARCHIVE, subject, what).titled(what));
    }

    /// Pickles one after another; returns the octets understood.
    fn stream(&mut self, place: &Place<'_>, bytes: &[u8], certainty: Certainty) -> u64 {
        let mut at = 0;
        let mut starts = Vec::new();
        let mut legacy = false;
        while at < bytes.len() && starts.len() < STREAM_PICKLES_MAX {
            let walk = self.walk(bytes, at, Reading::Straight);
            let sure = starts.is_empty() && is_sure(certainty, &walk, bytes);
            if starts.is_empty() {
                legacy = walk
                    .longs
                    .first()
                    .is_some_and(|s| slice(bytes, *s) == TORCH_LEGACY_MAGIC);
            }
            if !walk.whole() {
                if sure {
                    self.report(place, bytes, at, &walk);
                    self.damage(place, &walk, bytes.len() - at);
                    self.sweep(place, bytes, &[at]);
                    return at as u64;
                }
                if walk.calls_danger() {
                    self.report(place, bytes, at, &walk);
                } else if padded(&walk) {
                    // Padding in front of an import must not pass for "looked at".
                    self.damage(place, &walk, bytes.len() - at);
                }
                break;
            }
            let called = !walk.oddities.is_empty() || walk.globals.iter().any(|g| g.called);
            if certainty == Certainty::Maybe && starts.is_empty() && !sure && !called {
                return 0;
            }
            self.report(place, bytes, at, &walk);
            self.out.items += 1;
            starts.push(at);
            at += walk.consumed;
        }
        if starts.is_empty() {
            return 0;
        }
        self.sweep(place, bytes, &starts);
        self.trailing(
            place,
            bytes,
            at,
            legacy && starts.len() >= TORCH_LEGACY_PICKLES,
        )
    }

    /// What stands behind the last pickle of a stream.
    fn trailing(&mut self, place: &Place<'_>, bytes: &[u8], at: usize, storages: bool) -> u64 {
        let rest = bytes.get(at..).unwrap_or_default();
        let blank = rest.iter().all(|b| *b == 0 || b.is_ascii_whitespace());
        if storages || blank {
            return bytes.len() as u64;
        }
        self.out
            .skip(&place.shown(), "pickle-trailing-data", rest.len() as u64);
        at as u64
    }

    fn walk(&mut self, bytes: &[u8], at: usize, reading: Reading) -> Walk {
        let walk = walk(bytes, at, reading, self.opcodes_left);
        self.opcodes_left = self.opcodes_left.saturating_sub(walk.opcodes);
        walk
    }

    fn damage(&mut self, place: &Place<'_>, walk: &Walk, rest: usize) {
        let joblib = walk.globals.iter().any(|g| g.name == "NumpyArrayWrapper");
        let reason = match walk.end {
            End::Budget => "pickle-budget",
            _ if joblib => "joblib-array",
            End::Truncated => "pickle-truncated",
            _ if walk.frame_lie => "pickle-frame-lie",
            End::NotAnOpcode | End::Stop => "pickle-malformed",
        };
        self.out.skip(&place.shown(), reason, rest as u64);
    }

    /// Observations of one pickle, and of what its strings hide.
    fn report(&mut self, place: &Place<'_>, bytes: &[u8], at: usize, walk: &Walk) {
        self.judge(place, walk);
        if walk.straddled {
            let subject = subject(place, "FRAME", Some(at));
            self.out.observe(Observation::new(
                &rules::FRAME,
                subject,
                "a frame is straddled",
            ));
            let other = self.walk(bytes, at, Reading::DropRemainder);
            self.judge(place, &other);
        }
        if walk.literals_dropped {
            self.out.skip(&place.shown(), "pickle-literals-budget", 0);
        }
        for span in &walk.literals {
            let literal = slice(bytes, *span);
            let cost = literal.len() as u64 / OCTETS_PER_OPCODE;
            self.opcodes_left = self.opcodes_left.saturating_sub(cost);
            if self.opcodes_left == 0 {
                self.out.skip(&place.shown(), "pickle-budget", 0);
                return;
            }
            for decoded in nested::decodings(literal) {
                let mut inner = place.inside(&format!("string@{}", span.start));
                inner.hidden = true;
                self.hidden(&inner, &decoded);
            }
        }
    }

    /// A decoded string: only what would run is reported, never that it is "malformed".
    fn hidden(&mut self, place: &Place<'_>, bytes: &[u8]) {
        if place.depth > DEPTH_MAX {
            self.out
                .skip(&place.shown(), "nested-too-deep", bytes.len() as u64);
        } else if container(bytes) == Some(Container::Gzip) {
            let limit = self.inflated_left;
            let content = archive::inflate(MultiGzDecoder::new(bytes), bytes.len() as u64, limit);
            self.inflated_left = self
                .inflated_left
                .saturating_sub(content.bytes.len() as u64);
            self.hidden(&place.inside("inflated"), &content.bytes);
        } else {
            self.probe(place, bytes, 0);
        }
    }

    fn probe(&mut self, place: &Place<'_>, bytes: &[u8], at: usize) {
        let walk = self.walk(bytes, at, Reading::Straight);
        let called = walk
            .globals
            .iter()
            .any(|g| g.called && g.standing != Standing::Allowed);
        if walk.calls_danger() || (walk.whole() && (called || !walk.oddities.is_empty())) {
            self.report(place, bytes, at, &walk);
        }
    }

    /// Looks for pickles anywhere in the octets: inside strings, before, between and behind.
    fn sweep(&mut self, place: &Place<'_>, bytes: &[u8], starts: &[usize]) {
        for at in 0..bytes.len() {
            let begins = match bytes.get(at..) {
                Some([0x80, 2..=5, _, ..]) => true,
                Some([b'c' | b'i', rest @ ..]) => loud(rest),
                _ => false,
            };
            if !begins || starts.binary_search(&at).is_ok() {
                continue;
            }
            if self.opcodes_left == 0 {
                self.out
                    .skip(&place.shown(), "pickle-budget", (bytes.len() - at) as u64);
                return;
            }
            let mut inner = place.clone();
            inner.hidden = true;
            self.probe(&inner, bytes, at);
        }
    }

    fn judge(&mut self, place: &Place<'_>, walk: &Walk) {
        if !walk.suspicious() {
            return;
        }
        for global in &walk.globals {
            let rule: &'static Rule = match global.standing {
                Standing::Allowed => continue,
                Standing::Dangerous => &rules::DANGEROUS,
                Standing::Unlisted => &rules::UNLISTED,
            };
            let full = format!("{}.{}", global.module, global.name);
            let act = if global.called { "called" } else { "imported" };
            let evidence = format!("{} {full}, {act}, octet {}", global.opcode, global.offset);
            let title = format!("{}: {full} is {act}", rule.title);
            self.see(place, rule, &full, Some(global.offset), (&evidence, &title));
        }
        for (oddity, offset) in &walk.oddities {
            let (rule, detail, what): (&'static Rule, _, _) = match oddity {
                Oddity::ComputedGlobal => (
                    &rules::UNRESOLVED,
                    "STACK_GLOBAL",
                    "the name of an import is computed",
                ),
                Oddity::ComputedCall => (
                    &rules::UNRESOLVED,
                    "REDUCE",
                    "the result of a call is called",
                ),
                Oddity::BuildOnGlobal => (
                    &rules::UNRESOLVED,
                    "BUILD",
                    "attributes of an imported object are written",
                ),
                Oddity::Extension => (
                    &rules::UNRESOLVED,
                    "EXT",
                    "a number of the extension registry is imported",
                ),
                Oddity::PersistentId => (
                    &rules::PERSISTENT,
                    "PERSID",
                    "a persistent id that is not a tensor storage",
                ),
            };
            let evidence = format!("{detail}: {what}, octet {offset}");
            let title = format!("{}: {what}", rule.title);
            self.see(place, rule, detail, Some(*offset), (&evidence, &title));
        }
    }

    fn see(
        &mut self,
        place: &Place<'_>,
        rule: &'static Rule,
        detail: &str,
        offset: Option<usize>,
        (evidence, title): (&str, &str),
    ) {
        let subject = subject(place, detail, offset);
        // A string that nobody unpickles is harmless; that somebody does is likely, not certain.
        let sure = if place.hidden {
            Confidence::Medium
        } else {
            Confidence::High
        };
        self.out.observe(
            Observation::new(rule, subject, evidence)
                .titled(title)
                .sure(sure),
        );
    }
}

/// Whether a loader that is given these octets would call something that the list does not hold,
/// whatever the first opcode is. Any harmless one (`N0`, `I0 LF 0`, `]0`) can stand before an
/// import, so the first octets say nothing; a walk does, and in ordinary text it ends at once.
pub(super) fn runs(bytes: &[u8]) -> bool {
    let walk = walk(bytes, 0, Reading::Straight, OPCODES_MAX);
    let called = |g: &GlobalUse| g.called && g.standing != Standing::Allowed;
    walk.garbled != Some(true)
        && (padded(&walk)
            || walk.calls_danger()
            || (walk.whole() && walk.globals.iter().any(called)))
}

/// Whether a limit ended the walk of octets that a loader would still read.
fn padded(walk: &Walk) -> bool {
    walk.end == End::Budget && !walk.faulty && walk.garbled != Some(true)
}

fn is_sure(certainty: Certainty, walk: &Walk, bytes: &[u8]) -> bool {
    let magic = matches!(bytes, [0x80, version, ..] if *version <= 5);
    certainty == Certainty::Sure || (magic && (walk.whole() || walk.opcodes >= PLAUSIBLE_OPCODES))
}

fn subject(place: &Place<'_>, detail: &str, offset: Option<usize>) -> Subject {
    Subject::Model {
        path: place.path.to_owned(),
        member: crate::rule::printable(&place.member),
        detail: crate::rule::printable(detail),
        offset: offset.map(|o| o as u64),
    }
}

fn slice(bytes: &[u8], span: Span) -> &[u8] {
    bytes.get(span.start..span.end).unwrap_or_default()
}

fn zlib(bytes: &[u8]) -> bool {
    matches!(bytes, [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..])
}

/// Torch stores tensors as `NAME/data/N`: raw octets without structure.
fn tensor(name: &str) -> bool {
    let mut parts = name.rsplit('/');
    let number = parts
        .next()
        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    number && parts.next() == Some("data")
}

/// `module LF name LF` of a dangerous module: the one form worth a walk at any octet.
fn loud(rest: &[u8]) -> bool {
    if !nested::names_a_module(rest) {
        return false;
    }
    let mut lines = rest.split(|b| *b == b'\n').map(String::from_utf8_lossy);
    match (lines.next(), lines.next()) {
        (Some(module), Some(name)) => super::allow::standing(&module, &name) == Standing::Dangerous,
        _ => false,
    }
}
