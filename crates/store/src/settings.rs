//! Small values by name, for example the sealed pepper of the key hashes. What is secret comes
//! here sealed by the recorder; this file holds no plaintext secret.

use crate::error::StoreError;
use crate::row::Columns;
use crate::transaction::{Tx, View};
use ringfence_core::ids::ProjectId;

/// LIMIT: octets of one value.
pub const SETTING_BYTES_MAX: usize = 64 * 1024;

/// Sets a value, replacing what was there.
pub fn put(tx: &Tx<'_>, project: &ProjectId, name: &str, value: &[u8]) -> Result<(), StoreError> {
    if value.len() > SETTING_BYTES_MAX {
        return Err(StoreError::Limit {
            what: "octets of a setting",
            limit: SETTING_BYTES_MAX,
        });
    }
    tx.execute(
        "INSERT INTO settings (project, name, value) VALUES (?1, ?2, ?3)
         ON CONFLICT (project, name) DO UPDATE SET value = excluded.value",
        (project.as_str(), name, value),
    )?;
    Ok(())
}

/// A value, if it was ever set.
pub fn find(
    view: &View<'_>,
    project: &ProjectId,
    name: &str,
) -> Result<Option<Vec<u8>>, StoreError> {
    view.first(
        "SELECT value FROM settings WHERE project = ?1 AND name = ?2",
        (project.as_str(), name),
        |row| Columns::of("settings", row).value("value"),
    )
}
