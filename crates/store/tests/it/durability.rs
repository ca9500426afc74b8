//! What was answered is there after a kill -9.

use crate::under_test::{PLACE, Place, open_at};
use ringfence_core::ids::ProjectId;
use ringfence_store::settings;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const ROUNDS: usize = 3;
const ANSWERS: u32 = 100;

/// In the child: writes for ever and says each number only after it was answered.
fn write_until_killed(directions: &str) {
    let store = open_at(directions);
    for n in 0_u32.. {
        store
            .write(move |tx| {
                settings::put(tx, &ProjectId::host(), &n.to_string(), &n.to_be_bytes())
            })
            .unwrap();
        println!("kept {n}");
    }
}

#[test]
fn nothing_that_was_answered_is_lost_by_kill_nine() {
    if let Ok(directions) = std::env::var(PLACE) {
        return write_until_killed(&directions);
    }
    for _ in 0..ROUNDS {
        let place = Place::new();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("durability::nothing_that_was_answered_is_lost_by_kill_nine")
            .env(PLACE, place.directions())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut answered = None;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some((_, n)) = line.split_once("kept ") else {
                continue;
            };
            let n: u32 = n.parse().unwrap();
            answered = Some(n);
            if n == ANSWERS {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let answered = answered.unwrap();
        assert!(answered >= ANSWERS);
        let store = place.open();
        for n in 0..=answered {
            let name = n.to_string();
            let found = store
                .read(|v| settings::find(v, &ProjectId::host(), &name))
                .unwrap();
            assert_eq!(found, Some(n.to_be_bytes().to_vec()));
        }
    }
}
