//! What a file is, by content first: whether leaving it unread is a gap or only a picture.
//!
//! Everything in the tree is walked, virtual environments and `node_modules` included: what lies
//! there can be loaded. Two sorts of data are counted apart and make no scan incomplete, because
//! nothing runs them: git's object store, whose files are checked to be zlib streams or packs
//! (history is not scanned), and what [`ringfence_inspect::inert`] lists. Every other file that no
//! inspector understood is a skip with a reason that says what it would take: byte code,
//! executables, model formats, documents (PDF and office files can steer who reads them),
//! Brotli copies of web pages.

use ringfence_inspect::FileView;
use ringfence_inspect::inert::inert;

/// What to say of a file that no inspector understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Counted apart under this name.
    Inert(&'static str),
    /// A skip with this reason.
    Skip(&'static str),
}

const EXECUTABLE: &[&[u8]] = &[
    b"\x7fELF",
    b"MZ",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
    b"\0asm",
    b"!<arch>",
];

/// PDF, and the compound files of older office programs.
const DOCUMENTS: &[&[u8]] = &[b"%PDF-", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"];

/// Extensions of model formats that have no inspector yet.
const MODELS: &[&str] = &[
    "safetensors",
    "gguf",
    "ggml",
    "onnx",
    "h5",
    "hdf5",
    "keras",
    "pb",
    "tflite",
    "pt",
    "pth",
    "ckpt",
    "pkl",
    "pickle",
    "joblib",
    "npy",
    "npz",
    "mlmodel",
    "engine",
    "nemo",
    "llamafile",
];

/// Configuration by extension or name, for the inventory.
const CONFIGS: &[&str] = &["toml", "yaml", "yml", "json", "ini", "cfg", "conf", "env"];

/// Judges a file that no inspector understood.
pub fn unread(file: &FileView<'_>) -> Unread {
    if git_object(file) {
        return Unread::Inert("git-objects");
    }
    if let Some(kind) = inert(file) {
        return Unread::Inert(kind);
    }
    let extension = file.extension();
    if MODELS.contains(&extension.as_str()) {
        return Unread::Skip("model-format-not-understood");
    }
    if extension == "pyc" || extension == "pyo" {
        return Unread::Skip("bytecode-not-understood");
    }
    if EXECUTABLE.iter().any(|magic| file.bytes.starts_with(magic)) {
        return Unread::Skip("executable-not-understood");
    }
    if extension == "br" {
        // The format has no magic: the name is all there is.
        return Unread::Skip("compression-not-understood");
    }
    if DOCUMENTS.iter().any(|magic| file.bytes.starts_with(magic)) {
        return Unread::Skip("document-not-understood");
    }
    Unread::Skip("not-understood")
}

/// Loose objects are zlib streams under two hex digits; packs and indexes have their magic.
/// Anything else below `.git/objects` is an ordinary file that somebody put there.
fn git_object(file: &FileView<'_>) -> bool {
    let Some((before, inside)) = file.path.split_once(".git/objects/") else {
        return false;
    };
    if !(before.is_empty() || before.ends_with('/')) {
        return false;
    }
    let hex = |t: &str, n: usize| t.len() == n && t.bytes().all(|b| b.is_ascii_hexdigit());
    match inside.split_once('/') {
        Some(("pack" | "info", _)) => {
            let magic: &[&[u8]] = &[
                b"PACK", b"\xfftOc", b"RIDX", b"MIDX", b"CGPH", b"BITM", b"MTME",
            ];
            magic.iter().any(|m| file.bytes.starts_with(m))
        }
        Some((two, rest)) if hex(two, 2) && (hex(rest, 38) || hex(rest, 62)) => {
            matches!(file.bytes, [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..])
        }
        _ => false,
    }
}

/// The model format a path names, if it is one.
pub fn model_format(file: &FileView<'_>) -> Option<String> {
    let extension = file.extension();
    (MODELS.contains(&extension.as_str()) || (extension == "bin" && file.name().contains("model")))
        .then_some(extension)
}

/// Whether a file is configuration, by name.
pub fn is_config(file: &FileView<'_>) -> bool {
    let name = file.name();
    CONFIGS.contains(&file.extension().as_str())
        || name.starts_with("Dockerfile")
        || name.starts_with(".env")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(path: &str, bytes: &[u8]) -> Unread {
        unread(&FileView { path, bytes })
    }

    #[test]
    fn media_need_both_name_and_magic() {
        assert_eq!(
            judged("a.png", b"\x89PNG\r\n\x1a\n..."),
            Unread::Inert("media")
        );
        assert_eq!(
            judged("a.png", b"\x80\x04\xff"),
            Unread::Skip("not-understood")
        );
        assert_eq!(
            judged("a.bin", b"\x89PNG\r\n\x1a\n"),
            Unread::Skip("not-understood")
        );
    }

    #[test]
    fn a_skip_says_what_it_would_take() {
        for (path, bytes, reason) in [
            ("a.js.br", &b"\x1b\x03\0"[..], "compression-not-understood"),
            ("a.pdf", b"%PDF-1.7 \xff", "document-not-understood"),
            (
                "a.doc",
                b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
                "document-not-understood",
            ),
            ("a.glb", b"glTF\0", "not-understood"),
        ] {
            assert_eq!(judged(path, bytes), Unread::Skip(reason), "{path}");
        }
    }

    #[test]
    fn git_objects_need_their_place_and_their_form() {
        let loose = format!(".git/objects/ab/{}", "0".repeat(38));
        assert_eq!(judged(&loose, b"\x78\x01.."), Unread::Inert("git-objects"));
        assert_eq!(
            judged(&loose, b"\x80\x04.."),
            Unread::Skip("not-understood")
        );
        assert_eq!(
            judged(".git/objects/evil.pkl", b"\x78\x01"),
            Unread::Skip("model-format-not-understood")
        );
        assert_eq!(
            judged("sub/.git/objects/pack/p.pack", b"PACK"),
            Unread::Inert("git-objects")
        );
        assert_eq!(
            judged("x.git/objects/pack/p.pack", b"PACK"),
            Unread::Skip("not-understood")
        );
    }

    #[test]
    fn what_can_run_or_be_loaded_is_never_inert() {
        assert_eq!(
            judged("a.so", b"\x7fELF"),
            Unread::Skip("executable-not-understood")
        );
        assert_eq!(
            judged("a.pyc", b"\0\0"),
            Unread::Skip("bytecode-not-understood")
        );
        assert_eq!(
            judged("m.gguf", b"GGUF"),
            Unread::Skip("model-format-not-understood")
        );
    }
}
