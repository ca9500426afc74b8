//! The documentation that the built-in responder answers from.

use std::fs;
use std::io::Read as _;
use std::path::Path;

/// LIMIT: octets of one document.
pub const DOCUMENT_BYTES_MAX: u64 = 1024 * 1024;
/// LIMIT: documents of a project.
pub const DOCUMENTS_MAX: usize = 2_000;
/// LIMIT: folders below each other.
const DEPTH_MAX: usize = 16;

/// What was read, and what was not.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Library {
    /// Path relative to the configuration, and text.
    pub documents: Vec<(String, String)>,
    /// Path and why it was left out.
    pub skipped: Vec<(String, String)>,
}

/// Reads Markdown and plain text below `root` at the listed places.
pub fn read(root: &Path, places: &[String]) -> Library {
    let mut library = Library::default();
    for place in places {
        collect(root, Path::new(place), 0, &mut library);
    }
    library.documents.sort();
    library
}

fn collect(root: &Path, path: &Path, depth: usize, library: &mut Library) {
    let shown = path.to_string_lossy().into_owned();
    let full = root.join(path);
    let skip = |library: &mut Library, why: &str| {
        library.skipped.push((shown.clone(), why.to_owned()));
    };
    let Ok(kind) = fs::symlink_metadata(&full) else {
        return skip(library, "unreadable");
    };
    if kind.is_dir() {
        if depth >= DEPTH_MAX {
            return skip(library, "too-deep");
        }
        let Ok(entries) = fs::read_dir(&full) else {
            return skip(library, "unreadable");
        };
        let mut names: Vec<_> = entries
            .filter_map(|e| e.ok().map(|e| e.file_name()))
            .collect();
        names.sort();
        for name in names {
            collect(root, &path.join(name), depth + 1, library);
        }
        return;
    }
    if !kind.is_file() {
        return skip(library, "not-a-file");
    }
    if !is_document(path) {
        return;
    }
    if library.documents.len() >= DOCUMENTS_MAX {
        return skip(library, "too-many");
    }
    match text(&full) {
        Ok(text) => library.documents.push((shown, text)),
        Err(why) => skip(library, why),
    }
}

fn is_document(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e == "md" || e == "txt" || e == "rst")
}

fn text(path: &Path) -> Result<String, &'static str> {
    let file = fs::File::open(path).map_err(|_| "unreadable")?;
    let mut bytes = Vec::new();
    file.take(DOCUMENT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|_| "unreadable")?;
    if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
        return Err("too-large");
    }
    String::from_utf8(bytes).map_err(|_| "not-utf-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_in_order_and_everything_else_is_named_or_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        write("docs/b.md", b"two");
        write("docs/a.txt", b"one");
        write("docs/image.png", b"\x89");
        write("docs/bad.md", b"\xff\xfe");
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("docs/out.md")).unwrap();
        let library = read(dir.path(), &["docs".into(), "gone.md".into()]);
        let names: Vec<&str> = library.documents.iter().map(|d| d.0.as_str()).collect();
        assert_eq!(names, ["docs/a.txt", "docs/b.md"]);
        let skipped: Vec<(&str, &str)> = library
            .skipped
            .iter()
            .map(|(p, w)| (p.as_str(), w.as_str()))
            .collect();
        assert_eq!(
            skipped,
            [
                ("docs/bad.md", "not-utf-8"),
                ("docs/out.md", "not-a-file"),
                ("gone.md", "unreadable")
            ]
        );
    }

    #[test]
    fn a_document_is_read_at_the_limit_and_left_out_one_octet_above() {
        let dir = tempfile::tempdir().unwrap();
        let limit = usize::try_from(DOCUMENT_BYTES_MAX).unwrap();
        fs::write(dir.path().join("a.md"), vec![b'x'; limit]).unwrap();
        fs::write(dir.path().join("b.md"), vec![b'x'; limit + 1]).unwrap();
        let library = read(dir.path(), &[".".into()]);
        assert_eq!(library.documents.len(), 1);
        assert_eq!(
            library.skipped,
            [("./b.md".to_owned(), "too-large".to_owned())]
        );
    }
}
