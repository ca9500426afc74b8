//! The routes, as data. What is not in [`ROUTES`] does not exist here.
//!
//! Policy that hangs on handlers forgets the next handler; here a route without policy cannot be
//! written down, because the pipeline knows nothing but this table.
//! INVARIANT: the path is compared octet by octet, before any decoding, so that no spelling of a
//! closed path (`//`, `%2e`, another case, a trailing slash) opens it.

use crate::error::GatewayError;
use http::{Method, Uri};
use ringfence_core::ids::ProjectId;

/// Which language a route speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `OpenAI`'s chat completions and models.
    OpenAi,
    /// Ollama's native API.
    Ollama,
    /// Whatever the hosted app speaks.
    App,
}

/// Which route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteId {
    /// `POST /v1/chat/completions`
    OpenAiChat,
    /// `GET /v1/models`
    OpenAiModels,
    /// `POST /api/chat`
    OllamaChat,
    /// `POST /api/generate`
    OllamaGenerate,
    /// `GET /api/tags`
    OllamaTags,
    /// `/apps/PROJECT/…`
    App,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which route.
    pub id: RouteId,
    /// Its method; an app takes several.
    pub method: &'static str,
    /// Its path, here and at the upstream alike.
    pub path: &'static str,
    /// Its language.
    pub protocol: Protocol,
}

/// Every route there is, except that of the apps, which has a name in its path.
pub const ROUTES: [Route; 5] = [
    route(
        RouteId::OpenAiChat,
        "POST",
        "/v1/chat/completions",
        Protocol::OpenAi,
    ),
    route(RouteId::OpenAiModels, "GET", "/v1/models", Protocol::OpenAi),
    route(RouteId::OllamaChat, "POST", "/api/chat", Protocol::Ollama),
    route(
        RouteId::OllamaGenerate,
        "POST",
        "/api/generate",
        Protocol::Ollama,
    ),
    route(RouteId::OllamaTags, "GET", "/api/tags", Protocol::Ollama),
];

/// The route of the apps.
pub const APP_ROUTE: Route = route(RouteId::App, "POST", APP_PREFIX, Protocol::App);
const APP_PREFIX: &str = "/apps/";
const APP_METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

const fn route(id: RouteId, method: &'static str, path: &'static str, protocol: Protocol) -> Route {
    Route {
        id,
        method,
        path,
        protocol,
    }
}

/// Endpoints that engines are known to have and that are closed here: `engine`, path. From the
/// route registrations of Ollama 0.12 (`server/routes.go`), `vLLM` 0.11 (`entrypoints`) and
/// llama.cpp's server (`tools/server/README.md`). It serves the client a better answer than "no
/// such route", and the tests as a list of doors to try.
pub const CLOSED: [(&str, &str); 62] = [
    ("ollama", "/"),
    ("ollama", "/api/blobs"),
    ("ollama", "/api/copy"),
    ("ollama", "/api/create"),
    ("ollama", "/api/delete"),
    ("ollama", "/api/embed"),
    ("ollama", "/api/embeddings"),
    ("ollama", "/api/me"),
    ("ollama", "/api/ps"),
    ("ollama", "/api/pull"),
    ("ollama", "/api/push"),
    ("ollama", "/api/show"),
    ("ollama", "/api/signout"),
    ("ollama", "/api/user/keys"),
    ("ollama", "/api/version"),
    ("ollama", "/v1/completions"),
    ("ollama", "/v1/embeddings"),
    ("ollama", "/v1/messages"),
    ("ollama", "/v1/responses"),
    ("vllm", "/abort_requests"),
    ("vllm", "/classify"),
    ("vllm", "/collective_rpc"),
    ("vllm", "/detokenize"),
    ("vllm", "/docs"),
    ("vllm", "/health"),
    ("vllm", "/inference/v1/generate"),
    ("vllm", "/init_weights_update"),
    ("vllm", "/invocations"),
    ("vllm", "/is_sleeping"),
    ("vllm", "/load"),
    ("vllm", "/metrics"),
    ("vllm", "/openapi.json"),
    ("vllm", "/ping"),
    ("vllm", "/pooling"),
    ("vllm", "/rerank"),
    ("vllm", "/reset_mm_cache"),
    ("vllm", "/reset_prefix_cache"),
    ("vllm", "/scale_elastic_ep"),
    ("vllm", "/score"),
    ("vllm", "/server_info"),
    ("vllm", "/sleep"),
    ("vllm", "/start_profile"),
    ("vllm", "/stop_profile"),
    ("vllm", "/tokenize"),
    ("vllm", "/v1/audio/transcriptions"),
    ("vllm", "/v1/audio/translations"),
    ("vllm", "/v1/load_lora_adapter"),
    ("vllm", "/v1/rerank"),
    ("vllm", "/v1/score"),
    ("vllm", "/v1/unload_lora_adapter"),
    ("vllm", "/wake_up"),
    ("llama.cpp", "/apply-template"),
    ("llama.cpp", "/completion"),
    ("llama.cpp", "/completions"),
    ("llama.cpp", "/embedding"),
    ("llama.cpp", "/infill"),
    ("llama.cpp", "/lora-adapters"),
    ("llama.cpp", "/models/load"),
    ("llama.cpp", "/models/unload"),
    ("llama.cpp", "/props"),
    ("llama.cpp", "/reranking"),
    ("llama.cpp", "/slots"),
];

/// A request with its place in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matched {
    /// A route of the table.
    Model(Route),
    /// An app, and what is asked of it.
    App {
        /// Whose app.
        project: ProjectId,
        /// Path and query for the app.
        target: String,
    },
}

/// Finds the route of a request.
pub fn resolve(method: &Method, uri: &Uri) -> Result<Matched, GatewayError> {
    // An absolute form would let a client name a host; RFC 9112 section 3.2.2 is for proxies.
    if uri.authority().is_some() || uri.scheme().is_some() {
        return Err(GatewayError::RouteUnknown);
    }
    let path = uri.path();
    if let Some(rest) = path.strip_prefix(APP_PREFIX) {
        return app(method, rest, uri.query());
    }
    let Some(route) = ROUTES.iter().find(|r| r.path == path) else {
        let closed =
            CLOSED.iter().any(|(_, known)| *known == path) || path.starts_with("/api/blobs/");
        return Err(if closed {
            GatewayError::RouteClosed
        } else {
            GatewayError::RouteUnknown
        });
    };
    if route.method != method.as_str() {
        return Err(GatewayError::Method);
    }
    Ok(Matched::Model(*route))
}

fn app(method: &Method, rest: &str, query: Option<&str>) -> Result<Matched, GatewayError> {
    let (name, path) = rest.split_once('/').ok_or(GatewayError::RouteUnknown)?;
    let project = name.parse().map_err(|_| GatewayError::RouteUnknown)?;
    if !APP_METHODS.contains(&method.as_str()) {
        return Err(GatewayError::Method);
    }
    let lower = path.to_ascii_lowercase();
    let trick = lower.split('/').any(|part| part == "." || part == "..")
        || lower.starts_with('/')
        || ["%2e", "%2f", "%5c", "\\"]
            .iter()
            .any(|t| lower.contains(t));
    if trick {
        return Err(GatewayError::RouteUnknown);
    }
    let target = match query {
        Some(query) => format!("/{path}?{query}"),
        None => format!("/{path}"),
    };
    Ok(Matched::App { project, target })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(method: &str, uri: &str) -> Result<Matched, GatewayError> {
        resolve(&method.parse().unwrap(), &uri.parse().unwrap())
    }

    #[test]
    fn every_row_is_found_by_its_method_and_path_only() {
        for row in ROUTES {
            assert_eq!(find(row.method, row.path), Ok(Matched::Model(row)));
            for method in ["HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "CONNECTX"] {
                assert_eq!(
                    find(method, row.path),
                    Err(GatewayError::Method),
                    "{method}"
                );
            }
        }
    }

    #[test]
    fn no_other_spelling_of_a_route_is_the_route() {
        for row in ROUTES {
            let path = row.path;
            for other in [
                format!("{path}/"),
                format!("/{path}"),
                path.to_uppercase(),
                path.replacen('a', "%61", 1),
                path.replacen('/', "/./", 1),
                format!("http://engine.example{path}"),
                format!("{path};x=1"),
            ] {
                if other != path {
                    assert_eq!(
                        find(row.method, &other),
                        Err(GatewayError::RouteUnknown),
                        "{other}"
                    );
                }
            }
        }
    }

    #[test]
    fn known_endpoints_of_engines_are_closed() {
        for (_, path) in CLOSED {
            for method in ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"] {
                assert_eq!(
                    find(method, path),
                    Err(GatewayError::RouteClosed),
                    "{method} {path}"
                );
            }
        }
        assert_eq!(
            find("POST", "/api/blobs/sha256:00"),
            Err(GatewayError::RouteClosed)
        );
    }

    #[test]
    fn an_app_gets_path_and_query_and_no_path_tricks() {
        let app = |target: &str| {
            Ok(Matched::App {
                project: "mail".parse().unwrap(),
                target: target.to_owned(),
            })
        };
        assert_eq!(find("GET", "/apps/mail/"), app("/"));
        assert_eq!(find("POST", "/apps/mail/ask?x=1"), app("/ask?x=1"));
        for bad in [
            "/apps/mail",
            "/apps//x",
            "/apps/mail/../x",
            "/apps/mail/%2e%2E/x",
            "/apps/mail//x",
            "/apps/mail/a%2Fb",
            "/apps/MAIL/x",
            "/apps/mail/./x",
        ] {
            assert_eq!(find("GET", bad), Err(GatewayError::RouteUnknown), "{bad}");
        }
        assert_eq!(find("HEAD", "/apps/mail/"), Err(GatewayError::Method));
        assert_eq!(find("OPTIONS", "/apps/mail/"), Err(GatewayError::Method));
    }
}
