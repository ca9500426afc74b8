//! From numbers to octets: each head has one scale, and its largest weights are cut off so that
//! the many small ones keep their difference.

use crate::learn::Weights;
use ringfence_detect::shield::bundle::{HeadEntry, NAMES};
use ringfence_detect::shield::features::BUCKETS;
use ringfence_detect::shield::heads::HEADS;

/// The table and the numbers of its heads.
pub fn table(weights: &Weights) -> (Vec<u8>, Vec<HeadEntry>) {
    let mut table = vec![0_u8; BUCKETS * HEADS];
    let mut entries = Vec::new();
    for (head, (name, _)) in NAMES.iter().enumerate() {
        let of = |row: &[f32; HEADS]| row.get(head).copied().unwrap_or(0.0);
        let mut sizes: Vec<f32> = weights
            .rows
            .iter()
            .map(|r| of(r).abs())
            .filter(|w| *w > 0.0)
            .collect();
        sizes.sort_by(f32::total_cmp);
        let cut = sizes.len().saturating_sub(1 + sizes.len() / 2000);
        let largest = sizes.get(cut).copied().unwrap_or(1.0).max(1e-6);
        let scale = largest / 127.0;
        for (row, cells) in weights.rows.iter().zip(table.chunks_exact_mut(HEADS)) {
            if let Some(cell) = cells.get_mut(head) {
                let rounded = (of(row) / scale).round().clamp(-127.0, 127.0);
                #[expect(clippy::cast_possible_truncation, reason = "clamped to one octet")]
                let octet = (rounded as i8).to_ne_bytes();
                *cell = octet[0];
            }
        }
        entries.push(HeadEntry {
            name: (*name).to_owned(),
            bias: weights.bias.get(head).copied().unwrap_or(0.0),
            scale,
        });
    }
    (table, entries)
}
