//! Numbers that are given out once: case 1, case 2, ….

use crate::error::StoreError;
use crate::transaction::Tx;

/// The next number of this name, from 1. Given back if the transaction is not kept.
pub fn next(tx: &Tx<'_>, name: &'static str) -> Result<u64, StoreError> {
    tx.number(
        "INSERT INTO counters (name, value) VALUES (?1, 1)
         ON CONFLICT (name) DO UPDATE SET value = counters.value + 1
         RETURNING value AS n",
        [name],
    )
}
