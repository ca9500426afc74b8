//! A crate imports only crates on lower floors; stages, which share a floor, never import each
//! other.

use super::Complaints;
use serde_json::Value;
use std::collections::BTreeMap;

/// Checks every edge between crates of the workspace.
pub(super) fn check(metadata: &Value, complaints: &mut Complaints) {
    let packages = metadata["packages"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let floor = |p: &Value| p["metadata"]["ringfence"]["floor"].as_i64();
    let members: BTreeMap<&str, Option<i64>> = packages
        .iter()
        .filter(|p| p["source"].is_null())
        .filter_map(|p| Some((p["name"].as_str()?, floor(p))))
        .collect();
    for package in packages.iter().filter(|p| p["source"].is_null()) {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(own) = floor(package) else {
            complaints.push(format!("{name}: no floor in [package.metadata.ringfence]"));
            continue;
        };
        for dependency in package["dependencies"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
        {
            let other = dependency["name"].as_str().unwrap_or_default();
            let kind = dependency["kind"].as_str().unwrap_or("normal");
            if let Some(complaint) = edge(
                name,
                own,
                other,
                kind,
                members.get(other).map(|floor| floor.unwrap_or(i64::MAX)),
            ) {
                complaints.push(complaint);
            }
        }
    }
}

/// What is wrong with one edge; `floor` is none where the other crate is not ours.
fn edge(name: &str, own: i64, other: &str, kind: &str, floor: Option<i64>) -> Option<String> {
    let theirs = floor?;
    if kind == "dev" {
        let refused = own <= 2 && other == "ringfence-testkit";
        return refused.then(|| format!("{name} (floor {own}) must not use testkit"));
    }
    (theirs >= own).then(|| {
        format!("{name} (floor {own}) imports {other} (floor {theirs}), which is not below it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn complaints(own: i64, theirs: i64, kind: &str) -> usize {
        let kind = if kind == "normal" {
            Value::Null
        } else {
            json!(kind)
        };
        let metadata = json!({"packages": [
            {"name": "a", "source": null, "metadata": {"ringfence": {"floor": own}},
             "dependencies": [{"name": "b", "kind": kind}]},
            {"name": "b", "source": null, "metadata": {"ringfence": {"floor": theirs}},
             "dependencies": []}
        ]});
        let mut found = Vec::new();
        check(&metadata, &mut found);
        found.len()
    }

    #[test]
    fn an_edge_down_is_fine_and_an_edge_up_or_sideways_is_not() {
        assert_eq!(complaints(4, 3, "normal"), 0);
        assert_eq!(complaints(4, 4, "normal"), 1);
        assert_eq!(complaints(2, 3, "build"), 1);
        assert_eq!(complaints(4, 4, "dev"), 0);
    }

    #[test]
    fn a_crate_without_a_floor_is_named() {
        let metadata = json!({"packages": [
            {"name": "a", "source": null, "metadata": null, "dependencies": []}]});
        let mut found = Vec::new();
        check(&metadata, &mut found);
        assert_eq!(found, ["a: no floor in [package.metadata.ringfence]"]);
    }
}
