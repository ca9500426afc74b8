//! Reading `ringfence.toml`: the span of what is wrong, and the nearest word that would be right.

use super::{Address, AddressError, Config, Health, Project};
use ringfence_core::error::{ErrorCode, Explain, Explained};

/// LIMIT: octets of a configuration file.
pub const CONFIG_BYTES_MAX: usize = 256 * 1024;
/// LIMIT: edits between an unknown key and the key that is suggested for it.
const SUGGEST_DISTANCE_MAX: usize = 3;

/// What is wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A key that does not exist.
    #[error("unknown key `{key}`")]
    UnknownKey {
        /// The file.
        file: String,
        /// 1-based.
        line: usize,
        /// 1-based.
        column: usize,
        /// As written.
        key: String,
        /// The nearest existing key.
        nearest: Option<String>,
        /// All keys that could stand here.
        known: Vec<String>,
    },
    /// Not TOML, or a value of the wrong kind.
    #[error("{reason}")]
    Invalid {
        /// The file.
        file: String,
        /// 1-based.
        line: usize,
        /// 1-based.
        column: usize,
        /// What the parser says.
        reason: String,
    },
    /// A combination that is refused.
    #[error("{reason}")]
    Refused {
        /// The file.
        file: String,
        /// Dotted key.
        key: &'static str,
        /// Why.
        reason: String,
        /// What to write instead.
        help: String,
    },
    /// Longer than [`CONFIG_BYTES_MAX`].
    #[error("the file has {bytes} octets, at most {CONFIG_BYTES_MAX} are read")]
    TooLong {
        /// The file.
        file: String,
        /// Its length.
        bytes: usize,
    },
}

impl Explain for ConfigError {
    fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::UnknownKey { .. } => "config/unknown-key",
            Self::Invalid { .. } => "config/invalid",
            Self::Refused { .. } => "config/refused",
            Self::TooLong { .. } => "config/too-long",
        })
    }

    fn place(&self) -> Option<String> {
        Some(match self {
            Self::UnknownKey {
                file, line, column, ..
            }
            | Self::Invalid {
                file, line, column, ..
            } => format!("{file}:{line}:{column}"),
            Self::Refused { file, key, .. } => format!("{file}, key {key}"),
            Self::TooLong { file, .. } => file.clone(),
        })
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::UnknownKey {
                nearest: Some(nearest),
                ..
            } => format!("did you mean `{nearest}`?"),
            Self::UnknownKey { known, .. } => {
                format!("keys that can stand here: {}", known.join(", "))
            }
            Self::Invalid { .. } => {
                "correct the value; `ringfence config explain` lists every key with its default"
                    .to_owned()
            }
            Self::Refused { help, .. } => help.clone(),
            Self::TooLong { .. } => "a configuration is a page, not a data file".to_owned(),
        })
    }
}

/// Parses and checks a configuration. `file` is only used to say where.
pub fn parse(file: &str, text: &str) -> Result<Config, ConfigError> {
    if text.len() > CONFIG_BYTES_MAX {
        return Err(ConfigError::TooLong {
            file: file.to_owned(),
            bytes: text.len(),
        });
    }
    let config: Config = toml::from_str(text).map_err(|e| describe(file, text, &e))?;
    check(file, &config)?;
    Ok(config)
}

fn describe(file: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let offset = error.span().map_or(0, |s| s.start);
    let (line, column) = position(text, offset);
    let file = file.to_owned();
    let message = error.message();
    if let Some((key, known)) = unknown_field(message) {
        return ConfigError::UnknownKey {
            nearest: nearest(&key, &known),
            file,
            line,
            column,
            key,
            known,
        };
    }
    ConfigError::Invalid {
        file,
        line,
        column,
        reason: message.replace('\n', "; "),
    }
}

/// Takes ``unknown field `x`, expected one of `a`, `b` `` apart, the wording serde has had since 1.0.
fn unknown_field(message: &str) -> Option<(String, Vec<String>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (key, rest) = rest.split_once('`')?;
    let known = rest
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    Some((key.to_owned(), known))
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

fn nearest(key: &str, known: &[String]) -> Option<String> {
    known
        .iter()
        .map(|candidate| (distance(key, candidate), candidate))
        .filter(|(d, _)| *d <= SUGGEST_DISTANCE_MAX)
        .min()
        .map(|(_, candidate)| candidate.clone())
}

/// Levenshtein distance; both words are keys of a configuration, so the quadratic cost is nothing.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cb, above) in b.iter().zip(row.iter_mut().skip(1)) {
            let next = (diagonal + usize::from(ca != *cb))
                .min(left + 1)
                .min(*above + 1);
            diagonal = *above;
            *above = next;
            left = next;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// A combination that is refused: the key, why, and what to write instead.
type Refusal = (&'static str, String, &'static str);

/// Refuses combinations that would weaken the fence without anybody saying so.
pub fn check(file: &str, config: &Config) -> Result<(), ConfigError> {
    let refusal = project(config)
        .or_else(|| listeners(config))
        .or_else(|| what_runs(config))
        .or_else(|| witnesses(config))
        .or_else(|| worm(config))
        .or_else(|| state(config))
        .or_else(|| way_out(config));
    match refusal {
        None => Ok(()),
        Some((key, reason, help)) => Err(ConfigError::Refused {
            file: file.to_owned(),
            key,
            reason,
            help: help.to_owned(),
        }),
    }
}

fn project(config: &Config) -> Option<Refusal> {
    let Project {
        name,
        directory,
        documents,
        ..
    } = &config.project;
    if *name == ringfence_core::ids::ProjectId::host() {
        let reason = "`host` names the machine itself".to_owned();
        return Some(("project.name", reason, "choose another project name"));
    }
    let leaves = |path: &str| {
        path.starts_with('/') || path.split('/').any(|part| part == "..") || path.is_empty()
    };
    let outside = std::iter::once(directory)
        .chain(documents)
        .find(|p| leaves(p))?;
    let reason = format!("{outside:?} leaves the folder of the configuration");
    Some((
        "project.directory",
        reason,
        "write a path below this file, without `..`",
    ))
}

fn witnesses(config: &Config) -> Option<Refusal> {
    let error = crate::witnesses::Witnesses::new(&config.record).err()?;
    let help = "write { url = \"http://address:port\", vkey = \"…\" }, both as `ringfence witness` \
                prints them, and a quorum of at least one";
    Some(("record.witness", error.what, help))
}

fn worm(config: &Config) -> Option<Refusal> {
    let error = config.record.worm.as_ref()?.check().err()?;
    let help = "write endpoint, region, bucket and credentials as docs/configuration.md shows them";
    Some(("record.worm", Explained::of(&error).what, help))
}

fn listeners(config: &Config) -> Option<Refusal> {
    let listeners = [
        ("gateway.listen", config.gateway.listen),
        ("console.listen", config.console.listen),
    ];
    let (key, address) = listeners.into_iter().find(|(_, a)| !a.ip().is_loopback())?;
    if !config.gateway.tls && key == "gateway.listen" {
        let reason = format!("plain HTTP on {address} would show keys to the network");
        return Some((
            "gateway.tls",
            reason,
            "remove `tls = false`, and listen on 127.0.0.1",
        ));
    }
    let reason = format!(
        "{address} is not on loopback, and the local authority vouches for this machine only"
    );
    let help = "listen on 127.0.0.1 and let a TLS proxy of yours face the network";
    Some((key, reason, help))
}

fn what_runs(config: &Config) -> Option<Refusal> {
    let command = config.assistant.as_ref().map(|a| &a.command);
    if command.is_some_and(|c| c.first().is_none_or(String::is_empty)) {
        let help = "for example command = [\"python3\", \"assistant.py\"]";
        return Some(("assistant.command", "the command is empty".to_owned(), help));
    }
    if let Some(assistant) = &config.assistant {
        let (parked, most) = (assistant.parked, assistant.instances_max);
        if parked == 0 || parked >= most || most > crate::instances::INSTANCES_MAX {
            let reason = format!("{parked} of {most} instances cannot be parked");
            let help = "park at least 1, and fewer than instances_max, which is at most 64";
            return Some(("assistant.parked", reason, help));
        }
    }
    let Health {
        path,
        interval_s,
        failures_max,
    } = &config.health;
    if *interval_s == 0 || *failures_max == 0 || path.as_ref().is_some_and(|p| !p.starts_with('/'))
    {
        let reason = "the assistant cannot be looked after like this".to_owned();
        let help = "interval_s and failures_max are at least 1, and path begins with /";
        return Some(("health", reason, help));
    }
    let known = |u: &str| u == "auto" || u == "demo" || u.starts_with("http://");
    let model = config.models.iter().find(|m| !known(&m.upstream))?;
    let reason = format!("{:?} is not an upstream", model.upstream);
    Some((
        "model.upstream",
        reason,
        "write \"auto\", \"demo\" or \"http://127.0.0.1:11434\"",
    ))
}

fn state(config: &Config) -> Option<Refusal> {
    let (reason, help) = match Address::parse(config.store.url.as_ref()?) {
        Ok(_) if cfg!(feature = "scale") => return None,
        Ok(_) => (
            "this build of ringfence has no PostgreSQL",
            "build it with --features scale, or remove the key: state is then a file",
        ),
        Err(AddressError::Password) => (
            "a password in this file would be shown to the hosted program",
            "write it to server/postgres.password in the state directory, readable by the server \
             role only",
        ),
        Err(AddressError::Network) => (
            "nothing protects the way to another machine",
            "use a tunnel to 127.0.0.1 or to a Unix socket",
        ),
        Err(AddressError::Form) => (
            "this is not the address of a server",
            "write postgres://USER@/DATABASE?host=/run/postgresql or \
             postgres://USER@127.0.0.1:5432/DATABASE",
        ),
    };
    Some(("store.url", reason.to_owned(), help))
}

/// Ports at which a program that knows no proxy is heard.
const TRANSPARENT_PORTS: [u16; 2] = [80, 443];

fn way_out(config: &Config) -> Option<Refusal> {
    if !config.egress.transparent {
        return None;
    }
    if !config.egress.is_open() {
        let reason = "no host is listed, so there is no way out to be transparent".to_owned();
        return Some((
            "egress.transparent",
            reason,
            "list hosts, or remove the key",
        ));
    }
    let port = config.assistant.as_ref()?.port;
    if !TRANSPARENT_PORTS.contains(&port) {
        return None;
    }
    let reason = format!("port {port} is where connections out are heard");
    Some((
        "assistant.port",
        reason,
        "let the assistant listen at another port",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_elsewhere_is_refused_for_its_reason_and_without_its_password() {
        let with = |url: &str| parse("f", &format!("{SMALL}[store]\nurl = \"{url}\"\n"));
        let good = with("postgres://a@/b?host=/run/postgresql");
        if cfg!(feature = "scale") {
            assert!(good.is_ok());
        } else {
            let error = good.unwrap_err();
            assert!(error.help().is_some_and(|h| h.contains("--features scale")));
        }
        let error = with("postgres://a:hunter2@127.0.0.1/b").unwrap_err();
        assert_eq!(error.code().0, "config/refused");
        assert_eq!(error.place().as_deref(), Some("f, key store.url"));
        let said = format!("{error} {error:?} {:?}", error.help());
        assert!(!said.contains("hunter2") && said.contains("postgres.password"));
        assert!(with("postgres://a@192.0.2.1/b").is_err());
    }

    const SMALL: &str = "[project]\nname = \"helpdesk\"\n";

    fn error(text: &str) -> ConfigError {
        parse("ringfence.toml", text).unwrap_err()
    }

    #[test]
    fn the_smallest_file_gets_safe_defaults() {
        let config = parse("ringfence.toml", SMALL).unwrap();
        assert!(config.gateway.tls && config.gateway.listen.ip().is_loopback());
        assert_eq!(config.sandbox.memory, super::super::Bytes(512 << 20));
        assert_eq!(config.project.owner.as_str(), "local");
    }

    #[test]
    fn an_unknown_key_points_at_its_line_and_names_the_nearest() {
        let e = error(&format!("{SMALL}[gateway]\nlissten = \"127.0.0.1:1\"\n"));
        assert_eq!(e.place().as_deref(), Some("ringfence.toml:4:1"));
        assert_eq!(e.help().as_deref(), Some("did you mean `listen`?"));
        assert_eq!(e.code().0, "config/unknown-key");
    }

    #[test]
    fn a_key_far_from_all_others_lists_what_could_stand_there() {
        let e = error("[project]\nname = \"a\"\nquarantine = 1\n");
        assert_eq!(
            e.help().as_deref(),
            Some("keys that can stand here: name, directory, documents, owner")
        );
    }

    #[test]
    fn plain_http_is_refused_off_loopback_and_accepted_on_it() {
        let with = |listen: &str| {
            parse(
                "f",
                &format!("{SMALL}[gateway]\nlisten = \"{listen}\"\ntls = false\n"),
            )
        };
        assert!(with("127.0.0.1:1").is_ok());
        assert_eq!(with("0.0.0.0:1").unwrap_err().code().0, "config/refused");
    }

    #[test]
    fn nothing_listens_beyond_this_machine() {
        for table in ["gateway", "console"] {
            let with =
                |listen: &str| parse("f", &format!("{SMALL}[{table}]\nlisten = \"{listen}\"\n"));
            assert!(with("[::1]:1").is_ok());
            let refused = with("192.0.2.1:1").unwrap_err();
            assert!(
                refused
                    .place()
                    .unwrap()
                    .contains(&format!("{table}.listen")),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn an_export_that_cannot_work_is_refused() {
        let with = |endpoint: &str, more: &str| {
            let table = format!(
                "[record.worm]\nendpoint = \"{endpoint}\"\nregion = \"eu-test-1\"\n\
                 bucket = \"logs\"\ncredentials = \"/etc/ringfence/worm\"\n"
            );
            parse("f", &format!("{SMALL}{table}{more}\n"))
        };
        let worm = with("https://s3.example", "").unwrap().record.worm.unwrap();
        assert_eq!(worm.retention_days, 365);
        assert!(with("http://127.0.0.1:9000", "path_style = true").is_ok());
        for refused in [
            with("http://s3.example", ""),
            with("https://s3.example", "retention_days = 0"),
            with("https://s3.example", "prefix = \"logs\""),
        ] {
            let refused = refused.unwrap_err();
            assert!(
                refused.place().unwrap().contains("record.worm"),
                "{refused:?}"
            );
        }
        assert!(with("https://s3.example", "secret = \"in the open\"").is_err());
    }

    #[test]
    fn a_witness_that_cannot_be_asked_or_counted_is_refused() {
        let vkey = "w+b0b3d9d5+BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let key = ringfence_crypto::sign::VerifyingKey::from_bytes(
            ringfence_crypto::sign::Algorithm::Ed25519,
            &[0; 32],
        );
        let known = ringfence_crypto::note::NoteKey::witness("w", key.unwrap()).unwrap();
        let with = |url: &str, vkey: &str, more: &str| {
            let witness = format!("{{ url = \"{url}\", vkey = \"{vkey}\" }}");
            parse(
                "f",
                &format!("{SMALL}[record]\nwitness = [{witness}]\n{more}\n"),
            )
        };
        let (url, good) = ("http://127.0.0.1:8446", known.to_string());
        assert!(with(url, &good, "").is_ok());
        assert!(with(url, &good, "quorum = 1\nstrict = true").is_ok());
        for refused in [
            with(url, vkey, ""),
            with("https://127.0.0.1:8446", &good, ""),
            with("127.0.0.1", &good, ""),
            with(url, &good, "quorum = 2"),
            with(url, &good, "quorum = 0"),
            parse("f", &format!("{SMALL}[record]\nstrict = true\n")),
        ] {
            let refused = refused.unwrap_err();
            assert!(
                refused.place().unwrap().contains("record.witness"),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn instances_are_accepted_at_their_limits_and_refused_beyond() {
        let with = |parked: usize, most: usize| {
            let text = format!(
                "{SMALL}[assistant]\ncommand = [\"x\"]\nport = 8090\nisolation = \"request\"\n\
                 parked = {parked}\ninstances_max = {most}\n"
            );
            parse("f", &text).is_ok()
        };
        assert!(with(1, 2) && with(63, 64));
        assert!(!with(0, 2) && !with(2, 2) && !with(1, 65));
    }

    #[test]
    fn health_is_looked_after_in_time_and_at_a_path() {
        let with = |text: &str| parse("f", &format!("{SMALL}[health]\n{text}\n")).is_ok();
        assert!(with("path = \"/health\"\ninterval_s = 1\nfailures_max = 1"));
        for text in ["interval_s = 0", "failures_max = 0", "path = \"health\""] {
            assert!(!with(text), "{text}");
        }
    }

    #[test]
    fn a_transparent_way_out_needs_hosts_and_its_own_ports() {
        let with = |port: u16, hosts: &str| {
            let text = format!(
                "{SMALL}[assistant]\ncommand = [\"x\"]\nport = {port}\n\
                 [egress]\ntransparent = true\nhosts = [{hosts}]\n"
            );
            parse("f", &text).map_err(|e| e.place().unwrap_or_default())
        };
        assert!(with(8090, "\"a.example\"").is_ok());
        assert_eq!(with(8090, "").err().unwrap(), "f, key egress.transparent");
        assert_eq!(
            with(443, "\"a.example\"").err().unwrap(),
            "f, key assistant.port"
        );
        assert_eq!(with(8090, "\"10.0.0.1\"").err().unwrap(), "f:8:9");
    }

    #[test]
    fn a_file_is_read_at_the_limit_and_refused_one_octet_longer() {
        let fill = |n: usize| format!("{SMALL}#{}", "x".repeat(n - SMALL.len() - 1));
        assert!(parse("f", &fill(CONFIG_BYTES_MAX)).is_ok());
        assert_eq!(
            error(&fill(CONFIG_BYTES_MAX + 1)).code().0,
            "config/too-long"
        );
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("listen", "listen"), 0);
        assert_eq!(distance("lissten", "listen"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
