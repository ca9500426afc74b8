//! Where requests go: an engine at a configured address, or the demo engine in this process.
//!
//! INVARIANT: a request chooses among the upstreams of the configuration by the name of a model.
//! Nothing in it can name an address, a path or a header of the upstream.

use crate::config::UpstreamConfig;
use crate::demo;
use crate::routes::{Protocol, Route};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response};
use ringfence_core::json::parse_strict;
use ringfence_net::NetError;
use ringfence_net::body::{self, Body};
use ringfence_net::client::{Address, Client, ClientLimits};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

/// LIMIT: models of one upstream that are remembered by name.
pub const MODELS_MAX: usize = 256;
/// LIMIT: characters of a model's name in leaves and metrics.
pub const MODEL_NAME_CHARS_MAX: usize = 128;
/// LIMIT: octets of the answer to a probe.
const PROBE_BYTES_MAX: usize = 1024 * 1024;
/// LIMIT: milliseconds for each step of a probe.
const PROBE_MS: u64 = 300;

/// What kind of engine it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Ollama: its own API and `OpenAI`'s.
    Ollama,
    /// `vLLM`.
    Vllm,
    /// llama.cpp's server.
    LlamaCpp,
    /// Something else that speaks `OpenAI`'s API.
    OpenAi,
    /// The demo engine in this process; not a language model.
    Demo,
}

impl Engine {
    /// The name as in tables, leaves and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::Vllm => "vllm",
            Self::LlamaCpp => "llama.cpp",
            Self::OpenAi => "openai",
            Self::Demo => "demo",
        }
    }
}

enum Reach {
    Http(Client),
    Demo(Arc<demo::Engine>),
}

/// One upstream.
pub struct Upstream {
    engine: Engine,
    reach: Reach,
    models: RwLock<BTreeSet<String>>,
}

impl Upstream {
    /// An engine at an address.
    pub fn http(engine: Engine, address: Address, limits: ClientLimits) -> Self {
        let reach = Reach::Http(Client::new(address, limits));
        Self {
            engine,
            reach,
            models: RwLock::default(),
        }
    }

    /// The demo engine.
    pub fn demo(engine: Arc<demo::Engine>) -> Self {
        let models = RwLock::new(BTreeSet::from([demo::MODEL.to_owned()]));
        Self {
            engine: Engine::Demo,
            reach: Reach::Demo(engine),
            models,
        }
    }

    /// What kind of engine it is.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        match &self.reach {
            Reach::Http(client) => client.address().to_string(),
            Reach::Demo(_) => "in this process".to_owned(),
        }
    }

    /// Whether it speaks the language of a route.
    pub fn speaks(&self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::OpenAi => true,
            Protocol::Ollama => matches!(self.engine, Engine::Ollama | Engine::Demo),
            Protocol::App => false,
        }
    }

    /// Whether it has said that it has this model.
    pub fn lists(&self, model: &str) -> bool {
        self.models
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(model)
    }

    /// Remembers the models that a catalogue of this upstream names.
    pub fn learn(&self, catalogue: &Value) {
        let list = catalogue.get("data").or_else(|| catalogue.get("models"));
        let Some(Value::Array(items)) = list else {
            return;
        };
        let names = items.iter().filter_map(|item| {
            let name = item.get("id").or_else(|| item.get("name"))?.as_str()?;
            (name.chars().count() <= MODEL_NAME_CHARS_MAX).then(|| name.to_owned())
        });
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        *models = names.take(MODELS_MAX).collect();
    }

    /// Sends a request. Path and headers are those of the route table, never the client's.
    pub async fn call(&self, route: &Route, octets: Bytes) -> Result<Response<Body>, NetError> {
        match &self.reach {
            Reach::Demo(engine) => Ok(engine.respond(route.id, &octets)),
            Reach::Http(client) => {
                let method = if route.method == "GET" {
                    Method::GET
                } else {
                    Method::POST
                };
                client.send(request(&method, route.path, octets)?).await
            }
        }
    }
}

fn request(method: &Method, path: &str, octets: Bytes) -> Result<Request<Body>, NetError> {
    let body = if octets.is_empty() {
        body::empty()
    } else {
        body::full(octets)
    };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .body(body)
        .map_err(|_| NetError::Address(path.to_owned()))?;
    let headers = request.headers_mut();
    if *method == Method::POST {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    Ok(request)
}

/// The addresses that are tried, and what is expected there.
pub const CANDIDATES: [(Engine, &str); 3] = [
    (Engine::Ollama, "http://127.0.0.1:11434"),
    (Engine::Vllm, "http://127.0.0.1:8000"),
    (Engine::LlamaCpp, "http://127.0.0.1:8080"),
];

/// An address that was tried, and what was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The address.
    pub address: String,
    /// What was found; `None` if nothing answered as an engine does.
    pub found: Option<Engine>,
}

/// Finds the upstream that the configuration asks for. With `auto`, the first engine that answers
/// on loopback and identifies itself; a port alone is not believed, since 8000 and 8080 are
/// everybody's.
pub async fn discover(
    config: &UpstreamConfig,
    demo: Arc<demo::Engine>,
) -> Result<(Upstream, Vec<Tried>), NetError> {
    let mut tried = Vec::new();
    let limits = config.client_limits();
    match config.address.as_str() {
        "demo" => {}
        "auto" => {
            for (_, text) in CANDIDATES {
                let address: Address = text.parse()?;
                let found = identify(&address).await;
                let engine = found.as_ref().map(|(engine, _)| *engine);
                tried.push(Tried {
                    address: text.to_owned(),
                    found: engine,
                });
                if let Some((engine, catalogue)) = found.filter(|(e, _)| *e != Engine::OpenAi) {
                    let upstream = Upstream::http(engine, address, limits);
                    upstream.learn(&catalogue);
                    return Ok((upstream, tried));
                }
            }
        }
        text => {
            let address: Address = text.parse()?;
            let found = identify(&address).await;
            let engine = found.as_ref().map(|(engine, _)| *engine);
            tried.push(Tried {
                address: text.to_owned(),
                found: engine,
            });
            // It may be down now and come later: Ollama is then known by its port.
            let usual = if text.ends_with(":11434") {
                Engine::Ollama
            } else {
                Engine::OpenAi
            };
            let upstream = Upstream::http(engine.unwrap_or(usual), address, limits);
            if let Some((_, catalogue)) = found {
                upstream.learn(&catalogue);
            }
            return Ok((upstream, tried));
        }
    }
    Ok((Upstream::demo(demo), tried))
}

/// Asks an address what it is. The catalogue of its models comes along.
pub async fn identify(address: &Address) -> Option<(Engine, Value)> {
    let limits = ClientLimits {
        connect_ms: PROBE_MS,
        head_ms: PROBE_MS,
        idle_ms: PROBE_MS,
    };
    let client = Client::new(address.clone(), limits);
    if let Some(version) = probe(&client, "/api/version").await
        && version.get("version").is_some_and(Value::is_string)
        && let Some(catalogue) = probe(&client, "/api/tags").await
        && catalogue.get("models").is_some()
    {
        return Some((Engine::Ollama, catalogue));
    }
    let catalogue = probe(&client, "/v1/models").await?;
    let owner = catalogue
        .pointer("/data/0/owned_by")
        .and_then(Value::as_str);
    catalogue.get("data")?.as_array()?;
    let engine = match owner {
        Some("vllm") => Engine::Vllm,
        Some("llamacpp") => Engine::LlamaCpp,
        _ => Engine::OpenAi,
    };
    Some((engine, catalogue))
}

async fn probe(client: &Client, path: &str) -> Option<Value> {
    let response = client
        .send(request(&Method::GET, path, Bytes::new()).ok()?)
        .await
        .ok()?;
    if !response.status().is_success() {
        return None;
    }
    let octets = body::collect(response.into_body(), PROBE_BYTES_MAX)
        .await
        .ok()?;
    parse_strict(&octets).ok()
}
