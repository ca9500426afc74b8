//! A log that a web server shows, read file by file. What is fetched is signed or compared with what
//! is, so that nothing depends on the connection.

use ringfence_core::error::{ErrorCode, Explained};
use ringfence_net::body::{collect, empty};
use ringfence_net::client::{Address, Client, ClientLimits};
use ringfence_record::RecordError;
use ringfence_record::verify::Source;
use std::io;
use std::sync::Mutex;

/// The address of a log, and what asks it.
pub(super) struct Web {
    client: Client,
    /// What stands before the names of files.
    base: String,
    runtime: Mutex<tokio::runtime::Runtime>,
}

impl Web {
    /// Reads an address.
    pub(super) fn of(url: &str) -> Result<Self, Explained> {
        let unusable = |why: &str| {
            Explained::new(
                ErrorCode("cli/address"),
                format!("{url}: {why}"),
                "name an http:// address with a host, or copy the files and name their folder",
            )
        };
        let rest = url
            .strip_prefix("http://")
            .ok_or_else(|| unusable("only http:// is read; what is fetched is signed anyway"))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address: Address = format!("http://{authority}")
            .parse()
            .map_err(|_| unusable("no host"))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| unusable("no runtime").because(e))?;
        Ok(Self {
            client: Client::new(address, ClientLimits::default()),
            base: format!("/{path}").trim_end_matches('/').to_owned(),
            runtime: Mutex::new(runtime),
        })
    }

    async fn get(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, String> {
        let request = http::Request::get(format!("{}/{name}", self.base))
            .body(empty())
            .map_err(|e| e.to_string())?;
        let response = self.client.send(request).await.map_err(|e| e.to_string())?;
        match response.status().as_u16() {
            200 => {}
            404 => return Ok(None),
            other => return Err(format!("answered {other}")),
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let bytes = collect(response.into_body(), limit).await;
        bytes.map(|b| Some(b.to_vec())).map_err(|e| e.to_string())
    }
}

impl Source for Web {
    fn fetch(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, RecordError> {
        let runtime = self.runtime.lock();
        let runtime = runtime.unwrap_or_else(std::sync::PoisonError::into_inner);
        runtime
            .block_on(self.get(name, limit))
            .map_err(|why| RecordError::Io {
                what: "fetch",
                file: name.to_owned(),
                source: io::Error::other(why),
            })
    }

    fn list(&self, _: &str) -> Result<Option<Vec<String>>, RecordError> {
        Ok(None)
    }
}
