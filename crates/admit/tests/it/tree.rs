//! A scratch tree and one way to scan it.

use ringfence_admit::{ScanOptions, ScanReport, scan};
use ringfence_core::time::Timestamp;
use std::fs;
use std::path::{Path, PathBuf};

/// The moment of every test decision: 2026-11-20.
pub(crate) const NOW: Timestamp = Timestamp(1_795_132_800_000);

/// A scratch directory with files.
pub(crate) struct Tree(tempfile::TempDir);

impl Tree {
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Self {
        let tree = Self(tempfile::tempdir().expect("a scratch directory"));
        for (path, bytes) in files {
            tree.put(path, bytes);
        }
        tree
    }

    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside)
    }

    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        let whole = self.path(path);
        fs::create_dir_all(whole.parent().expect("a parent")).expect("a directory");
        fs::write(whole, bytes).expect("a file");
    }

    pub(crate) fn scan(&self, options: &ScanOptions) -> ScanReport {
        scan(self.0.path(), options, &mut |_| {}).expect("a report")
    }

    pub(crate) fn check(&self) -> ScanReport {
        self.scan(&ScanOptions::at(NOW))
    }
}

/// Path and reason of every skip.
pub(crate) fn skips(report: &ScanReport) -> Vec<(&str, &str)> {
    let all = report.verdict.coverage.skips.iter();
    all.map(|s| (s.path.as_str(), s.reason.as_str())).collect()
}

/// The repository's root.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
