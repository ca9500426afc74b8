//! Data that no inspector reads and that nothing runs: pictures, sound, moving pictures, fonts,
//! message catalogues, time zones.
//!
//! A kind is inert only when both agree: the name says what it is, and the first octets are those
//! of a format of that kind. A pickle called `logo.png` is therefore not inert, nor is a picture
//! called `model.bin`. What a program or a person could be steered by (PDF, office documents,
//! notebooks), what is run (byte code, shared objects, WebAssembly), what is packed in a way that
//! is not read here (Brotli, xz) and model formats are never inert: they are read or counted as
//! skips.
//!
//! Inert is not "understood". Such octets are counted apart and shown: a codec with a flaw can be
//! attacked by a picture, and a picture can hold text.

use crate::file::FileView;

/// Extensions of one kind with the first octets its formats may have. Extensions of one kind are
/// mixed up in real trees (a JPEG called `.png`), which changes nothing about what they are.
struct Kind {
    name: &'static str,
    extensions: &'static [&'static str],
    magic: &'static [&'static [u8]],
}

const KINDS: &[Kind] = &[
    Kind {
        name: "media",
        extensions: &[
            "png", "apng", "jpg", "jpeg", "gif", "ico", "cur", "webp", "bmp", "tif", "tiff",
        ],
        magic: &[
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff",
            b"GIF8",
            b"\0\0\x01\0",
            b"\0\0\x02\0",
            b"RIFF",
            b"BM",
            b"II*\0",
            b"MM\0*",
        ],
    },
    Kind {
        name: "media",
        extensions: &[
            "wav", "mp3", "ogg", "oga", "ogv", "opus", "flac", "avi", "webm", "mkv",
        ],
        magic: &[
            b"RIFF",
            b"ID3",
            b"\xff\xfb",
            b"\xff\xf3",
            b"OggS",
            b"fLaC",
            b"\x1aE\xdf\xa3",
        ],
    },
    Kind {
        name: "media",
        extensions: &["woff", "woff2", "ttf", "otf", "ttc"],
        magic: &[b"wOFF", b"wOF2", b"\0\x01\0\0", b"OTTO", b"true", b"ttcf"],
    },
    // Gettext evaluates the plural rule of a catalogue, but in a grammar of its own.
    Kind {
        name: "message-catalogues",
        extensions: &["mo", "gmo"],
        magic: &[b"\xde\x12\x04\x95", b"\x95\x04\x12\xde"],
    },
];

/// Formats that begin with a length and then name themselves (ISO/IEC 14496-12, section 4.3).
const BOXED: &[&str] = &["mp4", "m4a", "m4v", "mov", "avif", "heic"];

/// The kind of inert data a file is, if it is.
pub fn inert(file: &FileView<'_>) -> Option<&'static str> {
    let extension = file.extension();
    let extension = extension.as_str();
    if BOXED.contains(&extension) && file.bytes.get(4..8) == Some(b"ftyp") {
        return Some("media");
    }
    // RFC 9636: compiled time zones have no extension; the magic is followed by a version.
    if !file.name().contains('.')
        && matches!(file.bytes, [b'T', b'Z', b'i', b'f', 0 | b'2'..=b'4', ..])
    {
        return Some("time-zones");
    }
    KINDS
        .iter()
        .filter(|kind| kind.extensions.contains(&extension))
        .find(|kind| kind.magic.iter().any(|m| file.bytes.starts_with(m)))
        .map(|kind| kind.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(path: &str, bytes: &[u8]) -> Option<&'static str> {
        inert(&FileView { path, bytes })
    }

    #[test]
    fn name_and_first_octets_must_agree() {
        for (path, bytes, kind) in [
            ("a.png", &b"\x89PNG\r\n\x1a\n.."[..], "media"),
            ("a.png", b"\xff\xd8\xff\xe0", "media"),
            ("v.mp4", b"\0\0\0\x18ftypmp42", "media"),
            ("v.webm", b"\x1aE\xdf\xa3", "media"),
            ("f.woff2", b"wOF2", "media"),
            ("de.mo", b"\xde\x12\x04\x95\0\0", "message-catalogues"),
            ("zones/Europe/Berlin", b"TZif2\0", "time-zones"),
        ] {
            assert_eq!(judged(path, bytes), Some(kind), "{path}");
        }
        for (path, bytes) in [
            ("a.png", &b"\x80\x04\xff"[..]),
            ("a.bin", b"\x89PNG\r\n\x1a\n"),
            ("a.mp3", b"\x89PNG\r\n\x1a\n"),
            ("v.mp4", b"\x80\x04ftyp"),
            ("de.mo", b"\x80\x04"),
            ("Berlin.so", b"TZif2\0"),
            ("Berlin", b"\x80\x04TZif"),
        ] {
            assert_eq!(judged(path, bytes), None, "{path}");
        }
    }

    #[test]
    fn what_can_run_or_steer_is_never_inert() {
        for (path, bytes) in [
            ("a.pdf", &b"%PDF-1.7"[..]),
            ("a.pyc", b"\xa7\r\r\n"),
            ("a.so", b"\x7fELF"),
            ("a.wasm", b"\0asm"),
            ("a.js.br", b"\x1b\x03"),
            ("a.docx", b"PK\x03\x04"),
            ("a.safetensors", b"\x08\0\0\0\0\0\0\0{}"),
        ] {
            assert_eq!(judged(path, bytes), None, "{path}");
        }
    }
}
