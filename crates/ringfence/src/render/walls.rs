//! Walls as a table: which stand, how that is known, and what to do about the others.

use super::table::Table;
use ringfence_core::isolation::WallState;

/// Prints the table and the remedies.
pub(crate) fn print(walls: &[WallState]) {
    let mut table = Table::new(&["WALL", "STANDS", "HOW THAT IS KNOWN"]);
    for wall in walls {
        let stands = if wall.stands { "yes" } else { "NO" };
        table.row([
            wall.wall.as_str().to_owned(),
            stands.to_owned(),
            wall.evidence.clone(),
        ]);
    }
    print!("{table}");
    for wall in walls.iter().filter(|w| !w.stands) {
        if let Some(remedy) = &wall.remedy {
            println!("help: {}: {remedy}", wall.wall.as_str());
        }
    }
}
