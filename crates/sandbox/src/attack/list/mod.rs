//! The attacks, by what they are after. Flat tables; a new attack is one entry.

mod files;
mod kernel;
mod limits;
mod mounts;
mod network;
mod processes;

use super::Attack;

/// Every attack, in the order of the table.
pub fn all() -> impl Iterator<Item = &'static Attack> {
    mounts::ATTACKS
        .iter()
        .chain(processes::ATTACKS)
        .chain(kernel::ATTACKS)
        .chain(files::ATTACKS)
        .chain(network::ATTACKS)
        .chain(limits::ATTACKS)
}

/// The current directory, for calls with a directory descriptor.
const HERE: i64 = -100;
