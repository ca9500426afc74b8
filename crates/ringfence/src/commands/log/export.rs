//! `log export`: a copy of what the world may see, for a web server or a shelf.

use crate::render::{self, Format};
use crate::{Outcome, PASS};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_record::verify::export_dir;
use ringfence_sys::immutable;
use serde_json::json;
use std::fs::{self, File};
use std::path::Path;

/// Copies, and makes the copy immutable where that is asked for.
pub(super) fn run(own: &Path, to: &Path, immutable: bool, format: Format) -> Outcome {
    let occupied = fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some());
    if occupied {
        return Err(Explained::new(
            ErrorCode("cli/output"),
            format!("{} is not empty", to.display()),
            "name a new or empty folder",
        ));
    }
    fs::create_dir_all(to).map_err(|e| {
        Explained::new(
            ErrorCode("cli/output"),
            format!("{} cannot be made", to.display()),
            "name another folder",
        )
        .because(e)
    })?;
    let exported = export_dir(own, to).map_err(|e| Explained::of(&e))?;
    let locked = if immutable { lock(to)? } else { 0 };
    if format == Format::Json {
        let (size, files, octets) = (exported.size, exported.files, exported.octets);
        render::json(
            &json!({"size": size, "files": files, "octets": octets, "immutable": locked}),
        )?;
    } else {
        let to = to.display();
        println!(
            "{} leaves in {} files, {} octets, copied to {to}",
            exported.size, exported.files, exported.octets
        );
        if immutable {
            println!("{locked} files can now be neither changed nor removed (chattr -i ends that)");
        }
        println!("verify it anywhere: ringfence log verify {to} --vkey KEY --vkey KEY");
    }
    Ok(PASS)
}

/// Sets the immutable flag of every file below a folder (ext4, xfs, btrfs; needs root), and counts
/// them. One that cannot have it is an error: a copy that is half immutable is none.
fn lock(folder: &Path) -> Result<u64, Explained> {
    let mut locked = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |e: &dyn std::error::Error| {
            Explained::new(
                ErrorCode("cli/immutable"),
                format!("{} cannot be made immutable: {e}", folder.display()),
                "export as root to a file system with the flag (ext4, xfs, btrfs), or leave \
                 --immutable out",
            )
        };
        for entry in fs::read_dir(&folder).map_err(|e| failed(&e))? {
            let path = entry.map_err(|e| failed(&e))?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let file = File::open(&path).map_err(|e| failed(&e))?;
            immutable::set(&file, true).map_err(|e| failed(&e))?;
            locked += 1;
        }
    }
    Ok(locked)
}
