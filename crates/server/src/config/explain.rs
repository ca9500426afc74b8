//! Every key with its value, and where the value comes from.

use super::Config;
use serde::Serialize;

/// Where a value comes from. Flags beat the file, the file beats the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Built in.
    Default,
    /// Written in the file.
    File,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Dotted, for example `gateway.listen`.
    pub key: String,
    /// As TOML.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Lists every key of the effective configuration. `text` is the file it was parsed from.
pub fn explain(config: &Config, text: &str) -> Vec<Explanation> {
    let effective = toml::Value::try_from(config).unwrap_or(toml::Value::Boolean(false));
    let written: toml::Value =
        toml::from_str::<toml::Table>(text).map_or(toml::Value::Boolean(false), toml::Value::Table);
    let mut keys = Vec::new();
    flatten("", &effective, Some(&written), &mut keys);
    keys
}

fn flatten(
    prefix: &str,
    value: &toml::Value,
    written: Option<&toml::Value>,
    keys: &mut Vec<Explanation>,
) {
    let Some(table) = value.as_table() else {
        let origin = if written.is_some() {
            Origin::File
        } else {
            Origin::Default
        };
        keys.push(Explanation {
            key: prefix.to_owned(),
            value: value.to_string(),
            origin,
        });
        return;
    };
    for (name, inner) in table {
        let key = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        flatten(&key, inner, written.and_then(|w| w.get(name)), keys);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_says_whether_the_file_or_the_default_set_it() {
        let text = "[project]\nname = \"a\"\n[gateway]\ntls = false\n";
        let config = super::super::parse("f", text).unwrap();
        let keys = explain(&config, text);
        let origin = |k: &str| keys.iter().find(|e| e.key == k).map(|e| e.origin);
        assert_eq!(origin("gateway.tls"), Some(Origin::File));
        assert_eq!(origin("gateway.listen"), Some(Origin::Default));
    }
}
