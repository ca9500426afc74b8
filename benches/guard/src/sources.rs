//! What the evaluation measures with: harmless and hostile texts by source and channel. The halves that
//! calibrate are left out; none of it is trained on, except where the source says so.

use crate::calibrate::{half, wiki};
use crate::chance::Chance;
use crate::corpus::plant;
use crate::data::{Row, Sets};
use crate::grammar::Grammar;
use ringfence_core::detection::Channel;

/// Texts of one source in one channel.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name in the report.
    pub name: String,
    /// Who is said to have written them.
    pub channel: Channel,
    /// Whether they are attacks.
    pub attack: bool,
    /// The texts.
    pub texts: Vec<String>,
}

/// Every source that the shipped weights have not seen.
pub fn all(sets: &Sets) -> Result<Vec<Source>, String> {
    let mut out = harmless(sets)?;
    out.extend(hostile(sets)?);
    Ok(out)
}

fn source(name: &str, channel: Channel, attack: bool, texts: Vec<String>) -> Source {
    Source {
        name: name.to_owned(),
        channel,
        attack,
        texts,
    }
}

fn labelled(sets: &Sets, set: &str, label: i8) -> Result<Vec<Row>, String> {
    Ok(sets
        .rows(set)?
        .into_iter()
        .filter(|r| r.label == label)
        .collect())
}

/// Own harmless prompts with trigger words, from a grammar that nothing is fitted on.
pub fn triggers() -> Result<Vec<String>, String> {
    Ok(Grammar::held_out()?.texts("heldout", 600, &mut Chance::new(77)))
}

/// Harmless texts.
pub fn harmless(sets: &Sets) -> Result<Vec<Source>, String> {
    use Channel::{Document, ToolResult, User};
    let beer = sets.rows("beerqa-questions")?;
    let documents: Vec<Row> = beer
        .iter()
        .filter(|r| r.category == "document")
        .cloned()
        .collect();
    let neural = labelled(sets, "sentinel-neuralchemy", 0)?;
    let contexts = sets.rows("bipia-contexts-train")?;
    Ok(vec![
        source("own prompts with trigger words", User, false, triggers()?),
        source(
            "sentinel-neuralchemy, other half",
            User,
            false,
            half(&neural, true),
        ),
        source(
            "sentinel-other",
            User,
            false,
            half_all(&labelled(sets, "sentinel-other", 0)?),
        ),
        source(
            "beerqa-questions, other half",
            User,
            false,
            half(&beer, true),
        ),
        source("clinc-wiki, joined", User, false, wiki(sets)?),
        source(
            "bipia contexts as user text",
            User,
            false,
            half(&contexts, true),
        ),
        source(
            "harmbench (harmful, no injection)",
            User,
            false,
            half_all(&sets.rows("harmbench")?),
        ),
        source(
            "forbidden-questions, other half",
            User,
            false,
            half(&sets.rows("forbidden-questions")?, true),
        ),
        source(
            "bipia contexts, other half",
            Document,
            false,
            half(&contexts, true),
        ),
        source(
            "beerqa documents, other half",
            Document,
            false,
            half(&documents, true),
        ),
        source(
            "bipia contexts, other half",
            ToolResult,
            false,
            half(&contexts, true),
        ),
    ])
}

fn half_all(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|r| r.text.clone()).collect()
}

/// Attacks.
pub fn hostile(sets: &Sets) -> Result<Vec<Source>, String> {
    use Channel::{Document, User};
    let mut out = vec![source(
        "sentinel-hackaprompt",
        User,
        true,
        half_all(&sets.rows("sentinel-hackaprompt")?),
    )];
    for set in ["sentinel-neuralchemy", "sentinel-other"] {
        let rows = labelled(sets, set, 1)?;
        let mut kinds: Vec<String> = rows.iter().map(|r| r.category.clone()).collect();
        kinds.sort();
        kinds.dedup();
        for kind in kinds {
            let texts = rows
                .iter()
                .filter(|r| r.category == kind)
                .map(|r| r.text.clone())
                .collect();
            out.push(source(&format!("{set}: {kind}"), User, true, texts));
        }
    }
    out.push(source(
        "bipia payloads in unseen documents (payloads trained on)",
        Document,
        true,
        payloads(sets, &|_| true)?,
    ));
    Ok(out)
}

/// Payloads inside the documents of the half that does not calibrate.
pub fn payloads(sets: &Sets, take: &dyn Fn(&Row) -> bool) -> Result<Vec<String>, String> {
    let contexts = half(&sets.rows("bipia-contexts-train")?, true);
    let mut chance = Chance::new(5);
    Ok(sets
        .rows("bipia-attacks-train")?
        .iter()
        .filter(|r| take(r))
        .flat_map(|r| {
            (0..3)
                .filter_map(|_| contexts.get(chance.below(contexts.len())).cloned())
                .collect::<Vec<_>>()
                .into_iter()
                .map(|c| (c, r.text.clone()))
                .collect::<Vec<_>>()
        })
        .map(|(context, order)| {
            plant(
                &context,
                &order,
                &mut Chance::new(order.len() as u64 ^ context.len() as u64),
            )
        })
        .collect())
}
