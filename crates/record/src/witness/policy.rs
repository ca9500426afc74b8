//! C2SP tlog-policy: which logs, which witnesses, and how many of them are enough.
//!
//! A text file of lines: `log <vkey> [<url>]`, `witness <name> <vkey> [<url>]`,
//! `group <name> all|any|<k> <name>...`, `quorum <name>|none`. One rule is stricter than the
//! specification, where any one of the listed logs' keys is enough: of several keys with the name
//! of the checkpoint's origin, all must have signed. A log that signs with two algorithms would
//! otherwise be as weak as the weaker one.

use crate::error::RecordError;
use ringfence_crypto::checkpoint::{Checkpoint, decimal};
use ringfence_crypto::note::{Note, NoteKey};
use std::collections::BTreeMap;

/// LIMIT: octets of a policy file.
pub const POLICY_BYTES_MAX: usize = 512 * 1024;
/// LIMIT: logs, witnesses and groups of a policy, each.
pub const POLICY_ENTRIES_MAX: usize = 64;

/// One who is known by a key, with an address if one is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The key.
    pub key: NoteKey,
    /// Where it is reached.
    pub url: Option<String>,
}

/// A witness or a group of those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Member {
    /// By its place among the witnesses.
    Witness(usize),
    /// So many of these, by their places among the members.
    Group {
        threshold: usize,
        members: Vec<usize>,
    },
}

/// A policy. By default it knows no log and no witness, and asks for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Known>,
    witnesses: Vec<Known>,
    members: Vec<Member>,
    /// Which member; `None` asks for no cosignature.
    quorum: Option<usize>,
}

/// A cosignature that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// The witness's name.
    pub name: String,
    /// When it saw the checkpoint, in seconds since the epoch.
    pub seconds: u64,
}

impl Policy {
    /// So many of these witnesses, for logs that are known otherwise. 0 asks for none.
    pub fn threshold(witnesses: Vec<NoteKey>, threshold: usize) -> Result<Self, RecordError> {
        let mut reader = Reader::default();
        for key in witnesses {
            reader.witness(None, key, None).map_err(|r| fail(0, r))?;
        }
        let count = reader.policy.witnesses.len();
        if threshold > count {
            return Err(fail(0, "the quorum is larger than the number of witnesses"));
        }
        if threshold > 0 {
            let members = (0..count).collect();
            reader
                .policy
                .members
                .push(Member::Group { threshold, members });
            reader.policy.quorum = Some(count);
        }
        Ok(reader.policy)
    }

    /// Reads a policy file.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(fail(0, "longer than a policy may be"));
        }
        let mut reader = Reader::default();
        let text = match bytes.strip_suffix(b"\n") {
            Some(text) => text,
            None if bytes.is_empty() => bytes,
            None => return Err(fail(0, "the last line has no newline")),
        };
        for (index, line) in text.split(|b| *b == b'\n').enumerate() {
            reader
                .line(line)
                .map_err(|reason| fail(index + 1, reason))?;
        }
        if !reader.quorum_said {
            return Err(fail(0, "no quorum line"));
        }
        Ok(reader.policy)
    }

    /// The logs.
    pub fn logs(&self) -> &[Known] {
        &self.logs
    }

    /// The witnesses.
    pub fn witnesses(&self) -> &[Known] {
        &self.witnesses
    }

    /// Whether cosignatures are asked for.
    pub fn asks_for_witnesses(&self) -> bool {
        self.quorum.is_some()
    }

    /// Checks signatures of the log and cosignatures under this policy, and says who cosigned.
    pub fn verify(&self, note: &Note) -> Result<Vec<Cosigned>, RecordError> {
        let checkpoint = Checkpoint::parse(note.text())?;
        let keys: Vec<NoteKey> = self
            .logs
            .iter()
            .filter(|log| log.key.name() == checkpoint.origin)
            .map(|log| log.key.clone())
            .collect();
        note.verify(&keys)?;
        self.cosigned(note)
    }

    /// Checks the cosignatures alone. A cosignature without a time is none of a witness.
    pub fn cosigned(&self, note: &Note) -> Result<Vec<Cosigned>, RecordError> {
        let mut seen = Vec::with_capacity(self.witnesses.len());
        for witness in &self.witnesses {
            let signed = note.signed_by(&witness.key)?;
            seen.push(signed.filter(|s| s.seconds > 0));
        }
        // Members stand behind those that they name, so one pass decides all.
        let mut agreed: Vec<bool> = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let yes = |index: &usize| agreed.get(*index) == Some(&true);
            agreed.push(match member {
                Member::Witness(index) => seen.get(*index).is_some_and(Option::is_some),
                Member::Group { threshold, members } => {
                    members.iter().filter(|m| yes(m)).count() >= *threshold
                }
            });
        }
        let cosigned: Vec<Cosigned> = self
            .witnesses
            .iter()
            .zip(&seen)
            .filter_map(|(witness, signed)| {
                Some(Cosigned {
                    name: witness.key.name().to_owned(),
                    seconds: (*signed)?.seconds,
                })
            })
            .collect();
        match self.quorum {
            Some(index) if agreed.get(index) != Some(&true) => Err(RecordError::Quorum {
                have: cosigned.len(),
                of: self.witnesses.len(),
            }),
            _ => Ok(cosigned),
        }
    }
}

fn fail(line: usize, reason: &'static str) -> RecordError {
    RecordError::Policy { line, reason }
}

#[derive(Default)]
struct Reader {
    policy: Policy,
    /// Names are octets: the specification compares nothing else.
    names: BTreeMap<Vec<u8>, usize>,
    /// Members that a group has named; nobody counts twice.
    taken: Vec<usize>,
    groups: usize,
    quorum_said: bool,
}

impl Reader {
    fn line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        if line
            .iter()
            .any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f)
        {
            return Err("a control character");
        }
        let words: Vec<&[u8]> = line
            .split(|b| matches!(b, b' ' | b'\t'))
            .filter(|w| !w.is_empty())
            .collect();
        match words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", vkey, url @ ..] => self.log(key(vkey)?, one(url)?),
            [b"witness", name, vkey, url @ ..] => self.witness(Some(name), key(vkey)?, one(url)?),
            [b"group", name, count, members @ ..] => self.group(name, count, members),
            [b"quorum", name] => self.quorum(name),
            _ => Err("none of log, witness, group and quorum with what they need"),
        }
    }

    fn log(&mut self, key: NoteKey, url: Option<String>) -> Result<(), &'static str> {
        if !key.is_of_a_log() {
            return Err("a log's key has type 0x01 or 0x06");
        }
        push(&mut self.policy.logs, key, url)
    }

    fn witness(
        &mut self,
        name: Option<&[u8]>,
        key: NoteKey,
        url: Option<String>,
    ) -> Result<(), &'static str> {
        if !key.is_of_a_witness() {
            return Err("a witness's key has type 0x04 or 0x06");
        }
        let index = self.policy.witnesses.len();
        push(&mut self.policy.witnesses, key, url)?;
        self.define(name, Member::Witness(index))
    }

    fn group(&mut self, name: &[u8], count: &[u8], names: &[&[u8]]) -> Result<(), &'static str> {
        if self.groups == POLICY_ENTRIES_MAX {
            return Err("more groups than a policy may have");
        }
        self.groups += 1;
        let mut members = Vec::with_capacity(names.len());
        for name in names {
            let member = *self
                .names
                .get(*name)
                .ok_or("a member that is not defined above")?;
            if self.taken.contains(&member) {
                return Err("a member that a group has already");
            }
            self.taken.push(member);
            members.push(member);
        }
        let threshold = match count {
            b"all" => members.len(),
            b"any" => 1,
            digits => std::str::from_utf8(digits)
                .ok()
                .and_then(decimal)
                .and_then(|k| usize::try_from(k).ok())
                .ok_or("neither all, any nor a number")?,
        };
        if !(1..=members.len()).contains(&threshold) {
            return Err("a group of fewer members than it asks for, or that asks for none");
        }
        self.define(Some(name), Member::Group { threshold, members })
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), &'static str> {
        if self.quorum_said {
            return Err("a second quorum line");
        }
        self.quorum_said = true;
        if name != b"none" {
            let member = self
                .names
                .get(name)
                .ok_or("a quorum that is not defined above")?;
            self.policy.quorum = Some(*member);
        }
        Ok(())
    }

    fn define(&mut self, name: Option<&[u8]>, member: Member) -> Result<(), &'static str> {
        let index = self.policy.members.len();
        self.policy.members.push(member);
        match name {
            Some(b"none") => Err("the name none is taken"),
            Some(name) if self.names.insert(name.to_vec(), index).is_some() => {
                Err("a name that is defined above")
            }
            _ => Ok(()),
        }
    }
}

fn push(known: &mut Vec<Known>, key: NoteKey, url: Option<String>) -> Result<(), &'static str> {
    if known.len() == POLICY_ENTRIES_MAX {
        return Err("more logs or witnesses than a policy may have");
    }
    if known.iter().any(|k| k.key.key() == key.key()) {
        return Err("the same public key twice");
    }
    known.push(Known { key, url });
    Ok(())
}

fn key(word: &[u8]) -> Result<NoteKey, &'static str> {
    std::str::from_utf8(word)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or("not a verifier key (name+id+key)")
}

fn one(words: &[&[u8]]) -> Result<Option<String>, &'static str> {
    match words {
        [] => Ok(None),
        [url] => Ok(Some(String::from_utf8_lossy(url).into_owned())),
        _ => Err("more words than the line has"),
    }
}
