//! The `[record.worm]` part of the configuration, and the file of credentials it names.

use super::error::WormError;
use super::vault::LockedBucket;
use ringfence_core::ports::Clock;
use ringfence_core::secret::Secret;
use ringfence_net::client::ClientLimits;
use ringfence_net::https::{Endpoint, Roots};
use ringfence_net::s3::{Bucket, LockMode, Place, Style};
use ringfence_net::sigv4::Credentials;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// LIMIT: days that an object can be locked for; a hundred years, as stores have it.
pub const RETENTION_DAYS_MAX: u32 = 36_500;
/// LIMIT: octets of a prefix.
const PREFIX_BYTES_MAX: usize = 256;
/// LIMIT: octets of a file of credentials.
pub const CREDENTIALS_BYTES_MAX: usize = 16 * 1024;

/// Where the log is exported to and how it is locked there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WormConfig {
    /// `https://host[:port]`.
    pub endpoint: String,
    /// For example `eu-central-1`.
    pub region: String,
    /// A bucket that was made with Object Lock.
    pub bucket: String,
    /// In front of every key.
    #[serde(default)]
    pub prefix: String,
    /// Who may end a lock early.
    #[serde(default)]
    pub mode: WormMode,
    /// How long each object is locked.
    #[serde(default = "year")]
    pub retention_days: u32,
    /// Whether the bucket stands in the path instead of the host name.
    #[serde(default)]
    pub path_style: bool,
    /// Certificates of the authorities that may vouch for the endpoint.
    #[serde(default = "system_authorities")]
    pub authorities: String,
    /// The file of credentials; the secret itself never stands in the configuration.
    pub credentials: String,
}

/// Who may end a lock early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WormMode {
    /// Those who hold a special permission of the store. The default: a mistake can be undone.
    #[default]
    Governance,
    /// Nobody, until the time is over.
    Compliance,
}

fn year() -> u32 {
    365
}

fn system_authorities() -> String {
    "/etc/ssl/certs/ca-certificates.crt".to_owned()
}

impl WormConfig {
    /// Refuses what cannot work, before anything is asked of a store.
    pub fn check(&self) -> Result<(), WormError> {
        let refuse = |key, reason| Err(WormError::Setting { key, reason });
        if !(1..=RETENTION_DAYS_MAX).contains(&self.retention_days) {
            return refuse("record.worm.retention_days", "1 to 36500 days");
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
        if self.prefix.len() > PREFIX_BYTES_MAX || !self.prefix.bytes().all(plain) {
            return refuse("record.worm.prefix", "letters, digits and -_./ only");
        }
        if !self.prefix.is_empty() && !self.prefix.ends_with('/') {
            return refuse("record.worm.prefix", "it must end in /");
        }
        self.endpoint.parse::<Endpoint>()?;
        Ok(())
    }

    /// The vault that this names. `roots` is the content of the file of authorities.
    pub fn vault(
        &self,
        credentials: Credentials,
        roots: Option<&[u8]>,
        clock: Arc<dyn Clock>,
    ) -> Result<LockedBucket, WormError> {
        self.check()?;
        let place = Place {
            endpoint: self.endpoint.parse()?,
            region: self.region.clone(),
            bucket: self.bucket.clone(),
            style: if self.path_style {
                Style::Path
            } else {
                Style::VirtualHost
            },
            credentials,
            roots: roots.map(Roots::from_pem).transpose()?,
            limits: ClientLimits::default(),
        };
        let mode = match self.mode {
            WormMode::Governance => LockMode::Governance,
            WormMode::Compliance => LockMode::Compliance,
        };
        let bucket = Bucket::new(place, clock)?;
        Ok(LockedBucket::new(
            bucket,
            &self.prefix,
            mode,
            self.retention_days,
        ))
    }
}

/// Reads credentials in the form of the AWS tools: `name = value` lines, of which
/// `aws_access_key_id`, `aws_secret_access_key` and `aws_session_token` count. Lines in brackets and
/// comments are passed over; a name given twice is refused, since only one of them could be meant.
pub fn credentials(text: &Secret<String>) -> Result<Credentials, WormError> {
    let wrong = |reason| WormError::Setting {
        key: "record.worm.credentials",
        reason,
    };
    if text.danger_expose().len() > CREDENTIALS_BYTES_MAX {
        return Err(wrong("the file is longer than credentials are"));
    }
    let find = |wanted: &str| {
        let mut values = text.danger_expose().lines().filter_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == wanted).then(|| value.trim())
        });
        match (values.next(), values.next()) {
            (Some(_), Some(_)) => Err(wrong("a name stands there twice")),
            (value, _) => Ok(value.map(|v| Secret::new(v.to_owned()))),
        }
    };
    let access = find("aws_access_key_id")?.ok_or(wrong("aws_access_key_id is missing"))?;
    let secret = find("aws_secret_access_key")?.ok_or(wrong("aws_secret_access_key is missing"))?;
    let token = find("aws_session_token")?;
    Ok(Credentials::new(access.danger_expose(), secret, token)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> WormConfig {
        WormConfig {
            endpoint: "https://s3.example".to_owned(),
            region: "eu-test-1".to_owned(),
            bucket: "audit-logs".to_owned(),
            prefix: "logs/".to_owned(),
            mode: WormMode::Compliance,
            retention_days: 365,
            path_style: false,
            authorities: system_authorities(),
            credentials: "/etc/ringfence/worm.credentials".to_owned(),
        }
    }

    #[test]
    fn settings_are_accepted_at_their_limits_and_refused_beyond() {
        let with = |change: &dyn Fn(&mut WormConfig)| {
            let mut config = config();
            change(&mut config);
            config.check().is_ok()
        };
        assert!(with(&|_| {}));
        assert!(with(&|c| c.retention_days = 1) && !with(&|c| c.retention_days = 0));
        assert!(with(&|c| c.retention_days = RETENTION_DAYS_MAX));
        assert!(!with(&|c| c.retention_days = RETENTION_DAYS_MAX + 1));
        assert!(with(&|c| c.prefix = String::new()));
        assert!(with(
            &|c| c.prefix = format!("{}/", "a".repeat(PREFIX_BYTES_MAX - 1))
        ));
        assert!(!with(
            &|c| c.prefix = format!("{}/", "a".repeat(PREFIX_BYTES_MAX))
        ));
        assert!(!with(&|c| c.prefix = "logs".to_owned()));
        assert!(!with(&|c| c.prefix = "a b/".to_owned()));
        assert!(!with(&|c| c.endpoint = "http://s3.example".to_owned()));
    }

    #[test]
    fn credentials_are_read_once_each_and_never_shown() {
        let of = |text: &str| credentials(&Secret::new(text.to_owned()));
        let secret = "s".repeat(40);
        let good =
            format!("[default]\n# c\naws_access_key_id = AKID\naws_secret_access_key={secret}\n");
        let read = of(&good).unwrap();
        assert_eq!(read.access_key(), "AKID");
        assert!(!format!("{read:?}").contains("sss"));
        assert!(
            of(&format!("{good}aws_session_token = t\n"))
                .unwrap()
                .session_token()
                .is_some()
        );
        for bad in [
            "",
            "aws_access_key_id = AKID\n",
            &good.replace("AKID", ""),
            &format!("{good}{good}"),
            &good.replace(&secret, "short"),
        ] {
            let error = of(bad).unwrap_err();
            assert!(!error.to_string().contains("AKID"), "{error}");
        }
        let fill = |n: usize| format!("{good}#{}", "x".repeat(n - good.len() - 1));
        assert!(of(&fill(CREDENTIALS_BYTES_MAX)).is_ok());
        assert!(of(&fill(CREDENTIALS_BYTES_MAX + 1)).is_err());
    }
}
