//! A certificate authority of this one service, and the server certificate it signs.
//!
//! The authority may sign for `localhost` and the loopback addresses only (name constraints,
//! RFC 5280 section 4.2.1.10), so that trusting it in a browser costs nothing if its key is lost.
//! Files: `ca.pem`, `ca.key`, `server.pem`, `server.key`, and the last day of each in `*.until`,
//! in a directory of mode 0700, keys of mode 0600.

use crate::error::NetError;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SerialNumber,
};
use ringfence_core::ports::{Clock, Entropy};
use ringfence_core::time::{DAY_MS, Timestamp};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// LIMIT: days that the authority is valid.
pub const AUTHORITY_DAYS: i64 = 3650;
/// LIMIT: days that a server certificate is valid.
pub const CERTIFICATE_DAYS: i64 = 90;
/// Days before its end at which a certificate is made anew.
pub const RENEW_DAYS: i64 = 30;

const AUTHORITY_NAME: &str = "ringfence local authority";
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The authority and the certificate of this service.
pub struct LocalAuthority {
    authority_pem: String,
    certificate_pem: String,
    key_pem: String,
    valid_until: Timestamp,
    path: PathBuf,
}

impl LocalAuthority {
    /// Opens what `dir` holds, and makes what is missing or about to end.
    pub fn open_or_create(
        dir: &Path,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<Self, NetError> {
        let files = Files { dir };
        files.prepare()?;
        let now = clock.now();
        let (authority_pem, authority_key, renewed) = files.authority(now, entropy)?;
        let (certificate_pem, key_pem, valid_until) =
            files.certificate(now, entropy, &authority_key, renewed)?;
        let path = dir.to_owned();
        Ok(Self {
            authority_pem,
            certificate_pem,
            key_pem,
            valid_until,
            path,
        })
    }

    /// The authority's certificate, for those who are to trust it.
    pub fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    /// Where the authority's certificate lies: `curl --cacert PATH`.
    pub fn authority_path(&self) -> PathBuf {
        self.path.join("ca.pem")
    }

    /// The day on which the server certificate ends.
    pub fn valid_until(&self) -> Timestamp {
        self.valid_until
    }

    /// How a listener presents itself: TLS 1.3 and 1.2, HTTP/1.1.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, NetError> {
        let error = |reason: String| failed(&self.path, &reason);
        let chain = CertificateDer::pem_slice_iter(self.certificate_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| error(e.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes())
            .map_err(|e| error(e.to_string()))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|e| error(e.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|e| error(e.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn failed(path: &Path, reason: &str) -> NetError {
    NetError::Tls {
        path: path.display().to_string(),
        reason: reason.to_owned(),
    }
}

struct Files<'a> {
    dir: &'a Path,
}

impl Files<'_> {
    fn prepare(&self) -> Result<(), NetError> {
        let error = |e: std::io::Error| failed(self.dir, &e.to_string());
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(self.dir)
            .map_err(error)?;
        fs::set_permissions(self.dir, fs::Permissions::from_mode(0o700)).map_err(error)
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.dir.join(name)).ok()
    }

    /// Writes a file in full or not at all.
    fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), NetError> {
        let path = self.dir.join(name);
        let fresh = self.dir.join(format!("{name}.new"));
        let write = || {
            if fresh.exists() {
                fs::remove_file(&fresh)?;
            }
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&fresh)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, &path)
        };
        write().map_err(|e: std::io::Error| failed(&path, &e.to_string()))
    }

    /// The end of a kept certificate, if it is still far enough away.
    fn still_valid(&self, name: &str, now: Timestamp) -> Option<Timestamp> {
        let until = Timestamp::parse(self.read(&format!("{name}.until"))?.trim()).ok()?;
        (until.since_ms(now) > RENEW_DAYS * DAY_MS).then_some(until)
    }

    fn authority(
        &self,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<(String, KeyPair, bool), NetError> {
        let error = |e: rcgen::Error| failed(self.dir, &e.to_string());
        if self.still_valid("ca", now).is_some()
            && let (Some(pem), Some(key)) = (self.read("ca.pem"), self.read("ca.key"))
        {
            return Ok((pem, KeyPair::from_pem(&key).map_err(error)?, false));
        }
        let key = KeyPair::generate().map_err(error)?;
        let mut params = authority_params().map_err(error)?;
        let until = self.set_times(&mut params, now, AUTHORITY_DAYS, entropy)?;
        let pem = params.self_signed(&key).map_err(error)?.pem();
        self.write("ca.key", &key.serialize_pem(), 0o600)?;
        self.write("ca.pem", &pem, 0o644)?;
        self.write("ca.until", &day(until), 0o644)?;
        Ok((pem, key, true))
    }

    fn certificate(
        &self,
        now: Timestamp,
        entropy: &dyn Entropy,
        authority_key: &KeyPair,
        authority_renewed: bool,
    ) -> Result<(String, String, Timestamp), NetError> {
        let error = |e: rcgen::Error| failed(self.dir, &e.to_string());
        if let (false, Some(until), Some(pem), Some(key)) = (
            authority_renewed,
            self.still_valid("server", now),
            self.read("server.pem"),
            self.read("server.key"),
        ) {
            return Ok((pem, key, until));
        }
        let key = KeyPair::generate().map_err(error)?;
        let mut params =
            CertificateParams::new(NAMES.map(str::to_owned).to_vec()).map_err(error)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "localhost");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let until = self.set_times(&mut params, now, CERTIFICATE_DAYS, entropy)?;
        let authority = authority_params().map_err(error)?;
        let issuer = Issuer::from_params(&authority, authority_key);
        let pem = params.signed_by(&key, &issuer).map_err(error)?.pem();
        let key = key.serialize_pem();
        self.write("server.key", &key, 0o600)?;
        self.write("server.pem", &pem, 0o644)?;
        self.write("server.until", &day(until), 0o644)?;
        Ok((pem, key, until))
    }

    /// Sets serial number, first and last day. The first day is yesterday, so that a client whose
    /// clock is a little behind accepts it.
    fn set_times(
        &self,
        params: &mut CertificateParams,
        now: Timestamp,
        days: i64,
        entropy: &dyn Entropy,
    ) -> Result<Timestamp, NetError> {
        let mut serial = [0_u8; 16];
        entropy
            .fill(&mut serial)
            .map_err(|e| failed(self.dir, &e.what))?;
        // RFC 5280 section 4.1.2.2: a serial number is positive.
        serial[0] = (serial[0] & 0x7f) | 0x40;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let until = now.plus_ms(days * DAY_MS);
        let date = |t: Timestamp| {
            parts_of_day(&day(t)).ok_or_else(|| failed(self.dir, "the clock shows no valid date"))
        };
        let (first, last) = (date(now.plus_ms(-DAY_MS))?, date(until)?);
        params.not_before = rcgen::date_time_ymd(first.0, first.1, first.2);
        params.not_after = rcgen::date_time_ymd(last.0, last.1, last.2);
        Timestamp::parse(&day(until)).map_err(|e| failed(self.dir, &e.to_string()))
    }
}

fn authority_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params
        .distinguished_name
        .push(DnType::CommonName, AUTHORITY_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let (v4, v6) = (Ipv4Addr::LOCALHOST.octets(), Ipv6Addr::LOCALHOST.octets());
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix(v4, 32)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(v6, 128)),
        ],
        excluded_subtrees: Vec::new(),
    });
    Ok(params)
}

/// `YYYY-MM-DD`.
fn day(moment: Timestamp) -> String {
    moment.to_string().chars().take(10).collect()
}

fn parts_of_day(day: &str) -> Option<(i32, u8, u8)> {
    let mut parts = day.split('-');
    let year = parts
        .next()?
        .parse()
        .ok()
        .filter(|y| (1970..=9999).contains(y))?;
    let month = parts.next()?.parse().ok()?;
    Some((year, month, parts.next()?.parse().ok()?))
}
