//! A path of a tile has one spelling, and stays below the log.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_crypto::tiles::Tile;

fuzz_target!(|path: &str| {
    if let Some(tile) = Tile::parse(path) {
        assert_eq!(tile.path(), path);
        assert!(path.starts_with("tile/") && !path.contains(".."));
        assert!((1..=256).contains(&tile.width));
        // Any size may be asked for, and none overflows.
        let _ = tile.is_within(u64::MAX);
        let _ = Tile::at(tile.kind, tile.number, u64::MAX);
    }
});
