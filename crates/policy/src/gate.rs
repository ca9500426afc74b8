//! Compiling and evaluating the gate.

use crate::check;
use crate::config::GateConfig;
use crate::error::PolicyError;
use crate::input::{FINDINGS_MAX, GateInput};
use crate::rego;
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};
use ringfence_core::verdict::Decision;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

/// LIMIT: milliseconds for one rule; a policy that needs longer denies. One decision evaluates
/// three rules, and three more when the project has policy files.
pub const EVALUATION_MS_MAX: u64 = 2_000;
/// LIMIT: reasons that a decision carries; the rest is counted in the last one.
pub const REASONS_MAX: usize = 200;
/// LIMIT: policy files of one project.
const MODULES_MAX: usize = 64;

/// What the gate decided and why, one sentence each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateDecision {
    /// Allow, deny or incomplete.
    pub decision: Decision,
    /// Why; empty only for an allowance.
    pub reasons: Vec<String>,
}

/// A compiled gate.
#[derive(Clone)]
pub struct Gate {
    config: GateConfig,
    text: String,
    /// The compiled text alone: what no policy file can touch.
    own: Engine,
    /// The compiled text and the policy files, when there are any.
    joined: Option<Engine>,
}

/// What one engine answered.
struct Answer {
    verdict: Decision,
    deny: BTreeSet<String>,
    incomplete: BTreeSet<String>,
}

impl Gate {
    /// Compiles a table and its policy files.
    pub fn compile(config: &GateConfig) -> Result<Self, PolicyError> {
        Self::of_text(config, rego::compile(config), EVALUATION_MS_MAX)
    }

    /// The gate over any text: what [`Gate::compile`] does, and the seam for tests of bad texts.
    pub(crate) fn of_text(
        config: &GateConfig,
        text: String,
        time_ms_max: u64,
    ) -> Result<Self, PolicyError> {
        let mut own = Engine::new();
        own.set_execution_timer_config(ExecutionTimerConfig {
            limit: Duration::from_millis(time_ms_max),
            check_interval: NonZeroU32::MIN,
        });
        add(&mut own, "[gate]", &text)?;
        let mut joined = None;
        if !config.extra_rego.is_empty() {
            let mut engine = own.clone();
            add_extra(&mut engine, &config.extra_rego)?;
            joined = Some(engine);
        }
        Ok(Self {
            config: config.clone(),
            text,
            own,
            joined,
        })
    }

    /// The compiled text, as `config explain` shows it.
    pub fn rego(&self) -> &str {
        &self.text
    }

    /// The octets whose hash names this policy: the compiled text and every policy file, each
    /// with its length, so that no two policies share them.
    pub fn digest_input(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let extra = self
            .config
            .extra_rego
            .iter()
            .flat_map(|(name, text)| [name, text]);
        for part in std::iter::once(&self.text).chain(extra) {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes
    }

    /// Decides. Never fails: what goes wrong is a denial that says so.
    pub fn evaluate(&self, input: &GateInput) -> GateDecision {
        match self.answer(input) {
            Ok(answer) => conclude(answer),
            Err(reason) => GateDecision {
                decision: Decision::Deny,
                reasons: vec![format!("the policy could not be evaluated: {reason}")],
            },
        }
    }

    fn answer(&self, input: &GateInput) -> Result<Answer, String> {
        if input.findings.len() > FINDINGS_MAX {
            return Err(format!(
                "{} findings, more than {FINDINGS_MAX}",
                input.findings.len()
            ));
        }
        let document = input.document(&self.config).to_string();
        let document = Value::from_json_str(&document).map_err(|e| e.to_string())?;
        let mut answer = guarded(&self.own, &document)?;
        if let Some(joined) = &self.joined {
            // A policy file may only tighten: the own answer stays, theirs is added.
            let theirs = guarded(joined, &document)?;
            answer.verdict = stricter(answer.verdict, theirs.verdict);
            answer.deny.extend(theirs.deny);
            answer.incomplete.extend(theirs.incomplete);
        }
        Ok(answer)
    }
}

fn add(engine: &mut Engine, module: &str, text: &str) -> Result<String, PolicyError> {
    engine
        .add_policy(module.to_owned(), text.to_owned())
        .map_err(|e| PolicyError::Rego {
            module: module.to_owned(),
            reason: e.to_string().trim().to_owned(),
        })
}

fn add_extra(engine: &mut Engine, modules: &[(String, String)]) -> Result<(), PolicyError> {
    let mut names = BTreeSet::from(["[gate]"]);
    for (module, text) in modules {
        let refuse = |reason: &str| PolicyError::Modules {
            module: module.clone(),
            reason: reason.to_owned(),
        };
        if !names.insert(module) {
            return Err(refuse("another policy has the same name"));
        }
        if names.len() > MODULES_MAX + 1 {
            return Err(refuse(&format!(
                "there are more than {MODULES_MAX} policies"
            )));
        }
        let package = add(engine, module, text)?;
        if package != "data.ringfence.gate" {
            let package = package.trim_start_matches("data.").to_owned();
            return Err(PolicyError::Package {
                module: module.clone(),
                package,
            });
        }
        let declares = |rule: &str| {
            engine
                .has_declared_rule_rooted_at(module, rule)
                .map_err(|e| PolicyError::Rego {
                    module: module.clone(),
                    reason: e.to_string(),
                })
        };
        for rule in rego::RESERVED {
            if declares(rule)? {
                return Err(PolicyError::Reserved {
                    module: module.clone(),
                    rule,
                });
            }
        }
        if !declares("deny")? {
            return Err(PolicyError::NoDenial {
                module: module.clone(),
            });
        }
        check::check(module, text)?;
    }
    Ok(())
}

/// A panic inside the interpreter is a denial like any other failure; `run` works on a clone, so
/// that nothing half-changed is left behind.
fn guarded(engine: &Engine, document: &Value) -> Result<Answer, String> {
    std::panic::catch_unwind(AssertUnwindSafe(|| run(engine, document)))
        .unwrap_or_else(|_| Err("the interpreter broke off".to_owned()))
}

fn run(engine: &Engine, document: &Value) -> Result<Answer, String> {
    let mut engine = engine.clone();
    engine.set_input(document.clone());
    let mut rule = |name: &str| {
        engine
            .eval_rule(format!("data.ringfence.gate.{name}"))
            .map_err(|e| first_line(&e.to_string()))
    };
    let verdict = match rule("verdict")? {
        Value::String(text) if &*text == "allow" => Decision::Allow,
        Value::String(text) if &*text == "deny" => Decision::Deny,
        Value::String(text) if &*text == "incomplete" => Decision::Incomplete,
        Value::Undefined => return Err("its verdict is undefined".to_owned()),
        _ => return Err("its verdict is not allow, deny or incomplete".to_owned()),
    };
    let deny = messages(&rule("deny")?).ok_or("its `deny` is not a set of messages")?;
    let incomplete = messages(&rule("incomplete")?).ok_or("its `incomplete` is not a set")?;
    // The sets are read as well as the verdict: a text whose verdict forgets a denial still denies.
    let verdict = match (deny.is_empty(), incomplete.is_empty()) {
        (false, _) => Decision::Deny,
        (true, false) => stricter(verdict, Decision::Incomplete),
        (true, true) => verdict,
    };
    Ok(Answer {
        verdict,
        deny,
        incomplete,
    })
}

/// The members of a set of messages; a member that is no text is shown as JSON.
fn messages(value: &Value) -> Option<BTreeSet<String>> {
    match value {
        Value::Set(set) => Some(
            set.iter()
                .map(|member| match member {
                    Value::String(text) => text.to_string(),
                    other => other
                        .to_json_str()
                        .unwrap_or_else(|_| "a denial".to_owned()),
                })
                .collect(),
        ),
        _ => None,
    }
}

fn first_line(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    match lines.iter().find(|l| l.contains("error:")) {
        Some(line) => (*line).to_owned(),
        None => lines.first().copied().unwrap_or("unknown error").to_owned(),
    }
}

fn stricter(a: Decision, b: Decision) -> Decision {
    match (a, b) {
        (Decision::Deny, _) | (_, Decision::Deny) => Decision::Deny,
        (Decision::Incomplete, _) | (_, Decision::Incomplete) => Decision::Incomplete,
        (Decision::Allow, Decision::Allow) => Decision::Allow,
    }
}

fn conclude(answer: Answer) -> GateDecision {
    let all = match answer.verdict {
        Decision::Allow => BTreeSet::new(),
        Decision::Deny => answer.deny,
        Decision::Incomplete => answer.incomplete,
    };
    let more = all.len().saturating_sub(REASONS_MAX);
    let mut reasons: Vec<String> = all.into_iter().take(REASONS_MAX).collect();
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    if reasons.is_empty() && answer.verdict != Decision::Allow {
        reasons.push("the policy says so and gives no reason".to_owned());
    }
    GateDecision {
        decision: answer.verdict,
        reasons,
    }
}
