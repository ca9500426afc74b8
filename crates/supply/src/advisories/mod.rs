//! The advisory index: one block of bytes, read at once, that answers "what is known about this
//! component" without parsing JSON.
//!
//! Made from OSV archives by [`import_zip`]; facts only (ids, names, ranges, scores, dates), no
//! prose. See [`Index`] for the layout. INVARIANT: an index is checked whole when it is opened, so
//! that a damaged one is an error and never an answer without flaws.

mod build;
mod bytes;
mod format;
mod identifier;
mod import;
mod matching;
mod osv;
mod score;
mod span;
mod writer;

pub use build::Builder;
pub use format::{EcosystemHeader, Header, Index};
pub use import::{
    ARCHIVE_BYTES_MAX, ENTRIES_MAX, ImportLimits, RATIO_MAX, RECORD_BYTES_MAX, TOTAL_BYTES_MAX,
    import_archive, import_zip,
};
pub use matching::{Lookup, Match, SeveritySource};
pub use osv::Kind;
