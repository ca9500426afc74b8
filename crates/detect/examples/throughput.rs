//! How fast clean text goes through: `cargo run --release -p ringfence-detect --example throughput`.
//!
//! Prints megabytes a second for the shield, the secret scanner and the stream filter.

use ringfence_core::detection::{Channel, GuardAction, Label, Stream as _};
use ringfence_detect::secrets::Secrets;
use ringfence_detect::shield::Shield;
use ringfence_detect::stream::{Filter, FilterPlan};
use std::io::Write as _;
use std::time::Instant;

const PARAGRAPH: &str = "The committee met on Tuesday to review the plan for the new library. Several \
members asked how the rooms would be heated, and whether 120 seats are enough. The architect said that \
the model follows the rules of the city; costs were given as 4.2 million in 2024. A second meeting is set \
for the spring, when the public may comment on the drawings. fn main() { let x = map.get(\"key\"); }\n";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = PARAGRAPH.repeat(20_000);
    let mut out = std::io::stdout().lock();
    let mut report = |name: &str, started: Instant| {
        let seconds = started.elapsed().as_secs_f64();
        let megabytes = f64::from(u32::try_from(text.len()).unwrap_or(u32::MAX)) / 1e6;
        writeln!(
            out,
            "{name}: {:.0} MB/s over {megabytes:.1} MB",
            megabytes / seconds
        )
    };
    let shield = Shield::new()?;
    let started = Instant::now();
    std::hint::black_box(shield.scan(Channel::User, &text));
    report("shield", started)?;
    let secrets = Secrets::new()?;
    let started = Instant::now();
    std::hint::black_box(secrets.scan(&text));
    report("secrets", started)?;
    let labels = [
        Label::PaymentCard,
        Label::Iban,
        Label::Email,
        Label::Phone,
        Label::Secret,
    ];
    let plan = FilterPlan::for_labels(&labels.map(|label| (label, GuardAction::Redact)))?;
    let mut filter = Filter::new(plan);
    let mut kept = String::new();
    let started = Instant::now();
    let mut rest = text.as_str();
    while let Some((piece, tail)) = rest
        .split_at_checked(20.min(rest.len()))
        .filter(|_| !rest.is_empty())
    {
        filter.push(piece, &mut kept);
        kept.clear();
        rest = tail;
    }
    filter.finish(&mut kept);
    report("stream filter, pieces of 20 bytes", started)?;
    Ok(())
}
