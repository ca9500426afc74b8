//! The life of a request, in the order in which it happens. Read [`Gateway::handle`] and
//! [`Gateway::model_call`] from top to bottom: there is nothing else between a client and a model.

use crate::apps::{self, AppDirectory};
use crate::backoff::BackOff;
use crate::config::GatewayConfig;
use crate::error::GatewayError;
use crate::framing::{Framing, GuardedBody, count_usage};
use crate::guard::Guard;
use crate::identity::{Authentication, Identity, Peer};
use crate::inbound::{self, Inbound, Stopped};
use crate::keys::KeyDirectory;
use crate::limit::Limiter;
use crate::outbound::OutputFilter;
use crate::reply;
use crate::routes::{self, APP_ROUTE, Matched, Protocol, Route, RouteId};
use crate::settle::{Facts, Settlement, TokenSource, event_kind};
use crate::upstream::Upstream;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use ringfence_core::detection::GuardAction;
use ringfence_core::digest::hex;
use ringfence_core::error::{Explain, Explained};
use ringfence_core::event::{Occurrence, Target};
use ringfence_core::ids::{ProjectId, RequestId};
use ringfence_core::json::parse_strict;
use ringfence_core::leaf::Outcome;
use ringfence_core::limits::REQUEST_BYTES_MAX;
use ringfence_core::ports::{Breaker, Clock, Entropy, EventSink, LeafSink};
use ringfence_core::time::Timestamp;
use ringfence_crypto::hmac::HmacKey;
use ringfence_net::body::{self, Body};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// LIMIT: octets of an answer that is not streamed.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Texts longer than this are looked at on the blocking pool: it takes more than a millisecond.
const BLOCKING_BYTES: usize = 16 * 1024;

/// What the gateway is joined with.
pub struct GatewayParts {
    /// Where keys are kept.
    pub keys: Arc<dyn KeyDirectory>,
    /// Where leaves go.
    pub leaves: Arc<dyn LeafSink>,
    /// Where events go.
    pub events: Arc<dyn EventSink>,
    /// Who may pass now.
    pub breaker: Arc<dyn Breaker>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for the names of requests.
    pub entropy: Arc<dyn Entropy>,
    /// What API keys are hashed with.
    pub key_pepper: HmacKey,
    /// What texts are hashed with before they are recorded.
    pub text_key: HmacKey,
    /// What looks at texts.
    pub guard: Arc<dyn Guard>,
    /// Where requests go.
    pub upstreams: Vec<Upstream>,
    /// Which apps there are.
    pub apps: Arc<dyn AppDirectory>,
}

/// The gateway.
pub struct Gateway {
    config: GatewayConfig,
    parts: GatewayParts,
    limiter: Limiter,
    back_off: BackOff,
    boot: String,
    /// Stands in for a name that cannot be made, which the test of names rules out.
    nameless: RequestId,
    counter: AtomicU64,
}

/// A refusal with the language to say it in.
struct Refusal {
    error: GatewayError,
    protocol: Protocol,
}

impl Gateway {
    /// Joins the parts; refuses a configuration that cannot be carried out.
    pub fn new(config: GatewayConfig, parts: GatewayParts) -> Result<Arc<Self>, Explained> {
        config.guard.validate()?;
        let mut boot = [0; 6];
        parts.entropy.fill(&mut boot)?;
        let nameless = RequestId::try_from("req-nameless".to_owned()).map_err(|e| {
            Explained::new(
                GatewayError::Internal.code(),
                "no request can be named",
                "report it",
            )
            .because(e)
        })?;
        Ok(Arc::new(Self {
            config,
            parts,
            limiter: Limiter::new(),
            back_off: BackOff::new(),
            boot: hex(&boot),
            nameless,
            counter: AtomicU64::new(0),
        }))
    }

    /// Answers one request, whatever it is.
    pub async fn handle(self: &Arc<Self>, request: Request<Body>, peer: Peer) -> Response<Body> {
        let (head, content) = request.into_parts();
        let id = self.name();
        match self.steps(&id, &head, content, &peer).await {
            Ok(mut response) => {
                reply::name(&mut response, &id);
                response
            }
            Err(refusal) => reply::error(&refusal.error, refusal.protocol, &id),
        }
    }

    async fn steps(
        self: &Arc<Self>,
        id: &RequestId,
        head: &Parts,
        content: Body,
        peer: &Peer,
    ) -> Result<Response<Body>, Refusal> {
        let start_ns = self.monotonic_ns();
        let ollama = head.uri.path().starts_with("/api/");
        let protocol = if ollama {
            Protocol::Ollama
        } else {
            Protocol::OpenAi
        };
        let refuse = |error| Refusal { error, protocol };

        // Route: what is not in the table does not exist.
        let matched = routes::resolve(&head.method, &head.uri)
            .map_err(|e| refuse(self.turned_away(id, peer, e)))?;
        // Who asks: a door by its socket, everyone else by a key.
        let identity = self
            .authenticate(id, peer, &head.headers, &matched)
            .map_err(&refuse)?;
        // The breaker of this caller.
        if !self.parts.breaker.admit(&identity.target) {
            return Err(refuse(self.denied(id, &identity, GatewayError::Breaker)));
        }
        // How many requests a minute, exactly.
        self.limiter
            .admit(&identity.target, identity.requests_per_minute, start_ns)
            .map_err(|retry_ms| GatewayError::RateLimit { retry_ms })
            .map_err(|e| refuse(self.denied(id, &identity, e)))?;
        // A place in the log, before anything is done: what cannot be recorded is refused.
        let slot = self
            .parts
            .leaves
            .offer()
            .map_err(|_| refuse(self.denied(id, &identity, GatewayError::Record)))?;
        let facts = facts(id, &identity, &matched);
        let settlement = Settlement::new(Arc::clone(self), slot, facts, start_ns);
        // From here on the settlement writes the leaf, however this ends.
        match matched {
            Matched::Model(route) => self.model_call(route, head, content, settlement).await,
            Matched::App { project, target } => {
                let apps = &*self.parts.apps;
                apps::forward(apps, &project, &target, head, content, settlement).await
            }
        }
        .map_err(refuse)
    }

    async fn model_call(
        &self,
        route: Route,
        head: &Parts,
        content: Body,
        mut settlement: Settlement,
    ) -> Result<Response<Body>, GatewayError> {
        // Read strictly and look at every text, before any engine does.
        let looked = match route.method {
            "GET" => Ok(nothing()),
            _ => self.look(route, head, content, &mut settlement).await,
        };
        let looked = looked.inspect_err(|s| settlement.fail(&s.error, s.channel));
        let Inbound {
            bytes,
            model,
            tagged,
            shield_hits,
            redactions,
            text_bytes,
        } = looked.map_err(|stopped| stopped.error)?;
        settlement.facts.rules.extend(tagged);
        settlement.facts.shield_hits = shield_hits;
        settlement.facts.redactions_in = redactions;
        settlement.facts.text_bytes.0 = text_bytes;
        // Which upstream: by language and by the name of the model, nothing else.
        let upstream = self
            .choose(route.protocol, model.as_deref())
            .inspect_err(|e| settlement.fail(e, None))?;
        upstream
            .engine()
            .as_str()
            .clone_into(&mut settlement.facts.upstream);
        settlement.facts.model = match model {
            Some(name) if upstream.lists(&name) => name,
            Some(_) => "unlisted".to_owned(),
            None => String::new(),
        };
        // Ask, and filter every channel of the answer.
        let answer = upstream
            .call(&route, bytes)
            .await
            .map_err(GatewayError::of_upstream);
        let answer = answer.inspect_err(|e| settlement.fail(e, None))?;
        self.pass_on(route, upstream, answer, settlement).await
    }

    /// Hands an engine's answer on, through the filter of every channel.
    async fn pass_on(
        &self,
        route: Route,
        upstream: &Upstream,
        answer: Response<Body>,
        mut settlement: Settlement,
    ) -> Result<Response<Body>, GatewayError> {
        let (parts, content) = answer.into_parts();
        match understand(parts.status, &parts.headers) {
            Ok(Shape::Stream(framing)) => {
                settlement.facts.status = 200;
                let filter = self.output_filter();
                let body = GuardedBody::new(content, framing, route.protocol, filter, settlement);
                Ok(respond(StatusCode::OK, &parts.headers, body.boxed_unsync()))
            }
            Ok(Shape::Whole) => {
                let whole = self
                    .whole_answer(route, upstream, content, &mut settlement)
                    .await;
                let octets = whole.inspect_err(|e| settlement.fail(e, None))?;
                settlement.facts.status = parts.status.as_u16();
                if parts.status.is_success() {
                    settlement.complete();
                } else {
                    // The engine refused, in its own filtered words: the client's business.
                    settlement.facts.outcome = Outcome::Failed;
                    settlement.facts.code = Some("run/engine-refused");
                    settlement.complete();
                }
                Ok(respond(parts.status, &parts.headers, body::full(octets)))
            }
            Err(error) => {
                settlement.fail(&error, None);
                Err(error)
            }
        }
    }

    async fn look(
        &self,
        route: Route,
        head: &Parts,
        content: Body,
        settlement: &mut Settlement,
    ) -> Result<Inbound, Stopped> {
        if head.headers.contains_key(CONTENT_ENCODING) {
            let error = GatewayError::Malformed("a compressed body is not read".to_owned());
            return Err(error.into());
        }
        let bytes = body::collect(content, REQUEST_BYTES_MAX)
            .await
            .map_err(GatewayError::Body)?;
        settlement.facts.input = Some(self.parts.text_key.sign(&bytes));
        let guard = Arc::clone(&self.parts.guard);
        let config = self.config.guard.clone();
        if bytes.len() <= BLOCKING_BYTES {
            return inbound::examine(route.id, bytes, &*guard, &config);
        }
        let examine = move || inbound::examine(route.id, bytes, &*guard, &config);
        match tokio::task::spawn_blocking(examine).await {
            Ok(looked) => looked,
            Err(_) => Err(GatewayError::Internal.into()),
        }
    }

    async fn whole_answer(
        &self,
        route: Route,
        upstream: &Upstream,
        content: Body,
        settlement: &mut Settlement,
    ) -> Result<Bytes, GatewayError> {
        let octets = body::collect(content, ANSWER_BYTES_MAX)
            .await
            .map_err(GatewayError::of_upstream)?;
        settlement.first_octet();
        let mut value =
            parse_strict(&octets).map_err(|_| GatewayError::UpstreamMalformed("it is not JSON"))?;
        count_usage(settlement, &value);
        if matches!(route.id, RouteId::OpenAiModels | RouteId::OllamaTags) {
            upstream.learn(&value);
        }
        let Some(mut filter) = self.output_filter() else {
            return Ok(octets);
        };
        let filtered = move || {
            let changed = filter.whole(&mut value);
            (changed, value, filter.tally())
        };
        let (changed, value, tally) = if octets.len() <= BLOCKING_BYTES {
            filtered()
        } else {
            let joined = tokio::task::spawn_blocking(filtered).await;
            joined.map_err(|_| GatewayError::Internal)?
        };
        settlement.facts.text_bytes.1 = tally.text_bytes;
        settlement.facts.redactions_out = tally.hits;
        settlement.facts.rules.extend(tally.rules);
        Ok(if changed? {
            Bytes::from(value.to_string())
        } else {
            octets
        })
    }

    fn output_filter(&self) -> Option<OutputFilter> {
        (self.config.guard.pii_outbound != GuardAction::Pass)
            .then(|| OutputFilter::new(Arc::clone(&self.parts.guard)))
    }

    fn choose(&self, protocol: Protocol, model: Option<&str>) -> Result<&Upstream, GatewayError> {
        let speaking = || self.parts.upstreams.iter().filter(|u| u.speaks(protocol));
        speaking()
            .find(|u| model.is_some_and(|m| u.lists(m)))
            .or_else(|| speaking().next())
            .ok_or(GatewayError::Protocol)
    }

    fn authenticate(
        &self,
        id: &RequestId,
        peer: &Peer,
        headers: &HeaderMap,
        matched: &Matched,
    ) -> Result<Identity, GatewayError> {
        let authentication = Authentication {
            keys: &*self.parts.keys,
            pepper: &self.parts.key_pepper,
            back_off: &self.back_off,
            limits: &self.config.limits,
            clock: &*self.parts.clock,
        };
        authentication
            .identify(peer, headers, matched)
            .map_err(|refused| {
                let project = refused.project.unwrap_or_else(ProjectId::host);
                let target = refused.key.map_or(Target::Host, Target::Key);
                self.refusal_event(id, project, target, &refused.error);
                refused.error
            })
    }

    /// Tells of a request that was refused before anyone knew who asks.
    fn turned_away(&self, id: &RequestId, peer: &Peer, error: GatewayError) -> GatewayError {
        let (project, target) = match peer {
            Peer::Door { project, sandbox } => (project.clone(), Target::Sandbox(sandbox.clone())),
            _ => (ProjectId::host(), Target::Host),
        };
        self.refusal_event(id, project, target, &error);
        error
    }

    /// Tells of a request that was refused to a known caller.
    fn denied(&self, id: &RequestId, identity: &Identity, error: GatewayError) -> GatewayError {
        self.refusal_event(
            id,
            identity.project.clone(),
            identity.target.clone(),
            &error,
        );
        error
    }

    fn refusal_event(&self, id: &RequestId, project: ProjectId, target: Target, e: &GatewayError) {
        let event = Occurrence::new(self.now(), project, target, event_kind(e))
            .denied(None)
            .within(id.clone())
            .with("code", e.code().0);
        self.emit(event);
    }

    fn name(&self) -> RequestId {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let text = format!("req-{}-{number:x}", self.boot);
        text.parse().unwrap_or_else(|_| self.nameless.clone())
    }

    /// Now.
    pub(crate) fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// Nanoseconds of the forward clock.
    pub(crate) fn monotonic_ns(&self) -> u64 {
        self.parts.clock.monotonic_ns()
    }

    /// Hands an event on.
    pub(crate) fn emit(&self, event: Occurrence) {
        self.parts.events.emit(event);
    }
}

/// How an answer is to be read.
enum Shape {
    Stream(Framing),
    Whole,
}

/// An answer that cannot be read cannot be filtered, so it does not pass.
fn understand(status: StatusCode, headers: &HeaderMap) -> Result<Shape, GatewayError> {
    if status.is_server_error() || status.is_redirection() || status.is_informational() {
        return Err(GatewayError::UpstreamFailed(status.as_u16()));
    }
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(GatewayError::UpstreamMalformed("it is compressed, unasked"));
    }
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let kind = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match kind.as_str() {
        "text/event-stream" if status.is_success() => Ok(Shape::Stream(Framing::Sse)),
        "application/x-ndjson" if status.is_success() => Ok(Shape::Stream(Framing::Lines)),
        "application/json" => Ok(Shape::Whole),
        _ => Err(GatewayError::UpstreamMalformed(
            "its content type is not one of the protocol's",
        )),
    }
}

fn respond(status: StatusCode, upstream: &HeaderMap, content: Body) -> Response<Body> {
    let mut response = Response::new(content);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    // Of the upstream's headers only this one passes.
    if let Some(kind) = upstream.get(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, kind.clone());
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn nothing() -> Inbound {
    Inbound {
        bytes: Bytes::new(),
        model: None,
        tagged: BTreeSet::new(),
        shield_hits: 0,
        redactions: 0,
        text_bytes: 0,
    }
}

fn facts(id: &RequestId, identity: &Identity, matched: &Matched) -> Facts {
    let route = match matched {
        Matched::Model(route) => route.path,
        Matched::App { .. } => APP_ROUTE.path,
    };
    Facts {
        id: id.clone(),
        project: identity.project.clone(),
        actor: identity.actor.clone(),
        target: identity.target.clone(),
        route,
        upstream: String::new(),
        model: String::new(),
        status: 0,
        code: None,
        outcome: Outcome::Ok,
        tokens_in: 0,
        tokens_out: 0,
        tokens_source: TokenSource::None,
        text_bytes: (0, 0),
        rules: BTreeSet::new(),
        shield_hits: 0,
        redactions_in: 0,
        redactions_out: 0,
        input: None,
        first_ns: None,
    }
}
