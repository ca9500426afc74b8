//! The words of the pickle rules.

use crate::rule::Rule;
use ringfence_core::severity::Severity;

const REFERENCES: &[&str] = &[
    "https://docs.python.org/3/library/pickle.html",
    "https://cwe.mitre.org/data/definitions/502.html",
];
const TAGS: &[&str] = &["CWE-502", "LLM03", "AML.T0010", "AML.T0011"];
const IMPACT: &str = "Whoever wrote this file runs code of their choice in the process that loads \
    it, with that process's files, keys and network.";
const FIX: &str = "Do not load this file. Take the weights in a format without code \
    (safetensors, GGUF) from their author, or rebuild the file from data you trust; then delete \
    this one.";
const MITIGATION: &str = "Keep the project stopped. If it must start, remove the file from it, \
    and load models only with torch.load(..., weights_only=True) on torch 2.10 or newer.";

/// A global of a module that runs code, reads files or connects.
pub static DANGEROUS: Rule = Rule {
    id: "admit/pickle-dangerous-global",
    title: "Loading this pickle runs code",
    severity: Severity::Critical,
    cvss: Some(("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 98)),
    impact: IMPACT,
    fix: FIX,
    mitigation: MITIGATION,
    references: REFERENCES,
    tags: TAGS,
};

/// A global that the allow-list does not hold.
pub static UNLISTED: Rule = Rule {
    id: "admit/pickle-unlisted-global",
    title: "This pickle imports a name that is not known to be harmless",
    severity: Severity::High,
    cvss: None,
    impact: "The import runs the module, and the name may be called with arguments from the \
        file. If the module can be influenced, this is code execution.",
    fix: "Convert the model to a format without code (safetensors, GGUF), or store plain data \
        (dict, list, numpy arrays) in the pickle.",
    mitigation: "Read what the name does. If it only holds data, waive this finding by its \
        fingerprint until the file is converted.",
    references: REFERENCES,
    tags: TAGS,
};

/// Something whose meaning only shows when it runs.
pub static UNRESOLVED: Rule = Rule {
    id: "admit/pickle-unresolved",
    title: "This pickle hides what it imports or calls",
    severity: Severity::High,
    cvss: None,
    impact: IMPACT,
    fix: FIX,
    mitigation: MITIGATION,
    references: REFERENCES,
    tags: TAGS,
};

/// A persistent id that is not a tensor storage.
pub static PERSISTENT: Rule = Rule {
    id: "admit/pickle-persistent-id",
    title: "This pickle asks the loading program for objects by id",
    severity: Severity::Medium,
    cvss: None,
    impact: "What the id becomes is decided by the loading program; a loader that resolves ids \
        to files or imports gives the author of the file a handle on them.",
    fix: "Store the objects themselves as plain data.",
    mitigation: "Read persistent_load of the program that loads this file.",
    references: REFERENCES,
    tags: TAGS,
};

/// A frame that two readers read differently.
pub static FRAME: Rule = Rule {
    id: "admit/pickle-frame-straddle",
    title: "A frame ends inside an opcode: two readers see two programs",
    severity: Severity::High,
    cvss: None,
    impact: "No program writes such a pickle by accident. It makes a scanner see harmless \
        opcodes where the C reader of Python sees others.",
    fix: FIX,
    mitigation: MITIGATION,
    references: &["https://github.com/python/cpython/issues/154848"],
    tags: TAGS,
};

/// An archive whose headers contradict each other.
pub static ARCHIVE: Rule = Rule {
    id: "admit/archive-mismatch",
    title: "The headers of this archive contradict each other",
    severity: Severity::High,
    cvss: None,
    impact: "Readers disagree about names, sizes and checksums, so that a scanner opens another \
        member than the program that loads the model.",
    fix: "Pack the archive anew from files you trust.",
    mitigation: "Do not load it.",
    references: &["https://cwe.mitre.org/data/definitions/436.html"],
    tags: &["CWE-436", "CWE-345", "AML.T0010"],
};
