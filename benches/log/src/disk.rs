//! What the disk itself can do: the limit that the log is measured against.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a rate is measured.
const SPAN: Duration = Duration::from_secs(3);

/// Device, file system and mount options of a folder, from /proc/self/mountinfo.
pub(crate) fn describe(folder: &Path) -> io::Result<String> {
    let folder = fs::canonicalize(folder)?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let deepest = mounts
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let point = left.split(' ').nth(4)?;
            let options = left.split(' ').nth(5)?;
            folder
                .starts_with(point)
                .then(|| (point.len(), format!("{right} mounted {options}")))
        })
        .max_by_key(|(length, _)| *length);
    Ok(deepest.map_or_else(|| "unknown".to_owned(), |(_, text)| text))
}

/// Appends of `bytes` octets a second with one fdatasync each, by one writer.
pub(crate) fn fdatasync_rate(folder: &Path, bytes: usize) -> io::Result<f64> {
    let mut file = File::create(folder.join("raw"))?;
    let record = vec![0x5a; bytes];
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < SPAN {
        file.write_all(&record)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}
