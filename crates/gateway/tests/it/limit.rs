//! The limit of a key is exact under a race.

use crate::world::{World, chat};
use ringfence_gateway::config::GuardConfig;
use std::sync::Arc;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_200_requests_at_once_exactly_the_limit_passes() {
    let world = Arc::new(World::demo(GuardConfig::default()));
    let key = world.mint(37, None);
    let mut requests = JoinSet::new();
    for _ in 0..200 {
        let (world, key) = (Arc::clone(&world), key.clone());
        requests.spawn(async move {
            let content = chat("letters");
            world
                .send_as(&key, "POST", "/v1/chat/completions", &content)
                .await
                .status()
                .as_u16()
        });
    }
    let statuses = requests.join_all().await;
    assert_eq!(statuses.iter().filter(|s| **s == 200).count(), 37);
    assert_eq!(statuses.iter().filter(|s| **s == 429).count(), 163);
    assert_eq!(world.leaves.wait(37).await.len(), 37);
    assert_eq!(world.events.of("run.limit.refused").len(), 163);
    world.time.pass_ms(60_000);
    let status = world.send_as(&key, "GET", "/v1/models", "").await.status();
    assert_eq!(status, 200);
}
