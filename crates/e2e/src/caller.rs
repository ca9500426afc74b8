//! A client of the gateway or the console: curl, as the documentation shows it.

use crate::Said;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 0 when nothing came back.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// Where to send, whom to trust, and as who.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Scheme, host and port.
    pub base: String,
    /// The certificate that is trusted.
    pub authority: PathBuf,
    /// The API key; none is sent if it is empty.
    pub key: String,
}

impl Caller {
    /// Sends JSON.
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(
            path,
            &[
                "-H",
                "Content-Type: application/json",
                "-d",
                &body.to_string(),
            ],
        )
    }

    /// Asks.
    pub fn get(&self, path: &str) -> Reply {
        self.send(path, &[])
    }

    /// One prompt for the built-in responder.
    pub fn chat(&self, text: &str) -> Reply {
        let messages = serde_json::json!([{"role": "user", "content": text}]);
        let body = serde_json::json!({"model": "ringfence-demo", "messages": messages});
        self.post("/v1/chat/completions", &body)
    }

    /// Sends one prompt many times over one connection; how often each status came back.
    pub fn chat_many(&self, text: &str, times: u32) -> BTreeMap<u16, u32> {
        let messages = serde_json::json!([{"role": "user", "content": text}]);
        let body = serde_json::json!({"model": "ringfence-demo", "messages": messages});
        let output = Command::new("curl")
            .args(["--silent", "--max-time", "50", "--cacert"])
            .arg(&self.authority)
            .args(["-H", &format!("Authorization: Bearer {}", self.key)])
            .args([
                "-H",
                "Content-Type: application/json",
                "-d",
                &body.to_string(),
            ])
            .args(["-w", "%{stderr}%{http_code}\n"])
            .arg(format!("{}/v1/chat/completions?n=[1-{times}]", self.base))
            .output()
            .unwrap();
        let mut counts = BTreeMap::new();
        for status in Said::of(&output).err.lines() {
            *counts.entry(status.parse().unwrap()).or_default() += 1;
        }
        counts
    }

    fn send(&self, path: &str, arguments: &[&str]) -> Reply {
        let mut command = Command::new("curl");
        command.args(["--silent", "--no-buffer", "--max-time", "30", "--cacert"]);
        command
            .arg(&self.authority)
            .args(arguments)
            .args(["-w", "\n%{http_code}"]);
        if !self.key.is_empty() {
            command.args(["-H", &format!("Authorization: Bearer {}", self.key)]);
        }
        let said = Said::of(
            &command
                .arg(format!("{}{path}", self.base))
                .output()
                .unwrap(),
        );
        let (body, status) = said
            .out
            .rsplit_once('\n')
            .unwrap_or_else(|| panic!("{said:?}"));
        Reply {
            status: status.parse().unwrap_or_default(),
            body: body.to_owned(),
        }
    }
}
