//! The rules of `deny.toml`, checked on what cargo resolved, and the budget of packages.

use super::Complaints;
use crate::cargo::{product_packages, root};
use serde_json::Value;
use std::collections::BTreeSet;

/// LIMIT: packages that the product is built of by default.
const PACKAGES_MAX: usize = 290;

/// Checks bans, licences, sources, reasons and the budget.
pub(super) fn check(metadata: &Value, complaints: &mut Complaints) -> Result<(), String> {
    let text =
        std::fs::read_to_string(root().join("deny.toml")).map_err(|e| format!("deny.toml: {e}"))?;
    let deny: toml::Table = text.parse().map_err(|e| format!("deny.toml: {e}"))?;
    let product = product_packages()?;
    let names: BTreeSet<&str> = product.iter().filter_map(|p| p.split(' ').next()).collect();
    if product.len() > PACKAGES_MAX {
        complaints.push(format!(
            "{} packages, at most {PACKAGES_MAX}",
            product.len()
        ));
    }
    bans(&deny, &names, complaints);
    let packages = metadata["packages"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        if !names.contains(name) {
            continue;
        }
        licence(&deny, name, package["license"].as_str(), complaints);
        if let Some(source) = package["source"].as_str()
            && !source.starts_with("registry+")
        {
            complaints.push(format!("{name} comes from {source}, not from the registry"));
        }
    }
    reasons(complaints)
}

fn list<'a>(deny: &'a toml::Table, table: &str, key: &str) -> Vec<&'a toml::Value> {
    deny.get(table)
        .and_then(|t| t.get(key))
        .and_then(|v| v.as_array())
        .into_iter()
        .flatten()
        .collect()
}

fn bans(deny: &toml::Table, names: &BTreeSet<&str>, complaints: &mut Complaints) {
    for entry in list(deny, "bans", "deny") {
        let banned = entry
            .get("crate")
            .and_then(|c| c.as_str())
            .unwrap_or_default();
        if names.contains(banned) {
            let reason = entry
                .get("reason")
                .and_then(|r| r.as_str())
                .unwrap_or("banned");
            complaints.push(format!("{banned} is built in, but: {reason}"));
        }
    }
}

fn licence(deny: &toml::Table, name: &str, expression: Option<&str>, complaints: &mut Complaints) {
    let allowed: BTreeSet<&str> = list(deny, "licenses", "allow")
        .into_iter()
        .filter_map(|v| v.as_str())
        .collect();
    let excepted: BTreeSet<&str> = list(deny, "licenses", "exceptions")
        .into_iter()
        .filter(|e| e.get("crate").and_then(|c| c.as_str()) == Some(name))
        .flat_map(|e| {
            e.get("allow")
                .and_then(|a| a.as_array())
                .into_iter()
                .flatten()
        })
        .filter_map(|v| v.as_str())
        .collect();
    let fine = |id: &str| allowed.contains(id) || excepted.contains(id);
    let Some(expression) = expression else {
        complaints.push(format!("{name} names no licence"));
        return;
    };
    if !satisfied(expression, &fine) {
        complaints.push(format!(
            "{name}: licence {expression} is not on the list of deny.toml"
        ));
    }
}

/// Evaluates an SPDX expression: OR binds weaker than AND, `/` is an old spelling of OR, and
/// `X WITH Y` counts as one id.
fn satisfied(expression: &str, fine: &dyn Fn(&str) -> bool) -> bool {
    let text = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let tokens: Vec<&str> = text.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    any(&mut rest, fine) && rest.is_empty()
}

fn any(rest: &mut &[&str], fine: &dyn Fn(&str) -> bool) -> bool {
    let mut value = all(rest, fine);
    while let ["OR", tail @ ..] = *rest {
        *rest = tail;
        value |= all(rest, fine);
    }
    value
}

fn all(rest: &mut &[&str], fine: &dyn Fn(&str) -> bool) -> bool {
    let mut value = one(rest, fine);
    while let ["AND", tail @ ..] = *rest {
        *rest = tail;
        value &= one(rest, fine);
    }
    value
}

fn one(rest: &mut &[&str], fine: &dyn Fn(&str) -> bool) -> bool {
    match *rest {
        ["(", tail @ ..] => {
            *rest = tail;
            let value = any(rest, fine);
            let [")", tail @ ..] = *rest else {
                return false;
            };
            *rest = tail;
            value
        }
        [id, "WITH", exception, tail @ ..] => {
            *rest = tail;
            fine(&format!("{id} WITH {exception}")) || fine(id)
        }
        [id, tail @ ..] => {
            *rest = tail;
            fine(id)
        }
        [] => false,
    }
}

/// Every direct dependency of the workspace says on its own line why it is there.
fn reasons(complaints: &mut Complaints) -> Result<(), String> {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).map_err(|e| e.to_string())?;
    let lines = text
        .lines()
        .skip_while(|l| *l != "[workspace.dependencies]")
        .skip(1)
        .take_while(|l| !l.starts_with('['));
    for line in
        lines.filter(|l| l.contains('=') && !l.starts_with(['#', ' ']) && !l.contains("path ="))
    {
        if !line.contains('#') {
            complaints.push(format!("Cargo.toml: no reason beside `{line}`"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions_are_evaluated_not_searched() {
        let fine = |id: &str| matches!(id, "MIT" | "Apache-2.0" | "ISC");
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "ISC AND (Apache-2.0 OR LGPL-3.0)",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(satisfied(good, &fine), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT MIT", ""] {
            assert!(!satisfied(bad, &fine), "{bad}");
        }
    }
}
