//! A fake of a service outside: what a granted origin leads to in `dev` and in tests.
//!
//! It knows no service. A file beside the plugin says which collections there are: POST makes a record, once for each
//! `Idempotency-Key`, and GET lists them. What is made can be reported to a webhook, signed with a secret that the plugin
//! verifies with. A request without the header that the host injects is refused, so that the header is tested too.
//!
//! ```text
//! [[collection]]                    POST /v1/things {"size": 5}   →  201 {"id": "th_…", "size": 5}
//! path = "/v1/things"               the same again                →  200, the same
//! prefix = "th_"                    GET  /v1/things               →  [{"id": "th_…", "size": 5}]
//! ```

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, Request, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use futures::future::BoxFuture;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    error::{Fault, Setup},
    secret::{self, ring::Ring},
};

/// A report is sent so often, with as many seconds in between.
const REPORTS_MAX: u32 = 10;
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// A file of `plugins/<id>/fakes/`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    #[serde(rename = "collection")]
    pub collections: Vec<Collection>,
    /// Where it reports what it made.
    pub webhook: Option<Webhook>,
}

/// Records of one kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collection {
    pub path: String,
    /// What ids begin with.
    pub prefix: String,
    /// The `type` of its reports; absent: it reports nothing.
    pub event: Option<String>,
    /// What it will not make.
    pub refusal: Option<Refusal>,
}

/// One value of one field that is refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    pub field: String,
    pub value: Value,
    pub status: u16,
    pub body: Value,
}

/// Who is told, and how that is signed: HMAC-SHA256 over `<seconds>.<body>`, as `t=<seconds>,v1=<hex>`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    pub path: String,
    /// A secret of the plugin's.
    pub secret: String,
    pub header: String,
}

impl Spec {
    /// Reads a file's text; `place` is its path.
    pub fn parse(place: &str, text: &str) -> Setup<Self> {
        toml::from_str(text).map_err(|error| Fault::new(place, error.to_string()))
    }
}

/// What the fake shares with the host.
#[derive(Clone, Default)]
pub struct Shared {
    /// The header that every request carries.
    pub injected: Option<(String, SecretString)>,
    /// Signs reports.
    pub webhook: Option<Ring>,
}

/// One question and its answer, as it was given the first time.
#[derive(Clone, Debug)]
pub struct Entry {
    pub path: String,
    pub key: String,
    pub asked: Value,
    pub status: u16,
    pub answer: Value,
    /// How often it was asked.
    pub times: u32,
}

/// A moment at which a test may step in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The question is read, and nothing done.
    Asked,
    /// It is done, and nobody knows.
    Done,
}

/// Called with each moment and the path of the question; the fake waits for its end, and says nothing but the status that it
/// gives, if it gives one.
pub type Hook = Arc<dyn Fn(Moment, &str) -> BoxFuture<'static, Option<u16>> + Send + Sync>;

/// A fake; cheap to clone, and each clone is the same one.
#[derive(Clone)]
pub struct Fake(Arc<Inner>);

struct Inner {
    spec: Spec,
    shared: Shared,
    hook: Mutex<Option<Hook>>,
    /// Where reports go: `http://127.0.0.1:3000`.
    api: Mutex<Option<String>>,
    entries: Mutex<Vec<Entry>>,
    client: Client<HttpConnector, Body>,
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fake").field("spec", &self.0.spec).finish_non_exhaustive()
    }
}

impl Fake {
    /// An empty one.
    #[must_use]
    pub fn new(spec: Spec, shared: Shared) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let (hook, api, entries) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { spec, shared, hook, api, entries, client }))
    }

    /// From now on it reports to the API at this origin.
    pub fn report_to(&self, api: String) {
        *locked(&self.0.api) = Some(api);
    }

    /// From now on a test steps in, or none does.
    pub fn set_hook(&self, hook: Option<Hook>) {
        *locked(&self.0.hook) = hook;
    }

    /// Answers every path.
    pub fn router(&self) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
    }

    /// Everything it was asked, once for each key.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        locked(&self.0.entries).clone()
    }

    /// The records of each collection, or of one.
    fn list(&self, path: &str) -> Value {
        let of = |path: &str| -> Value {
            let made = |entry: &&Entry| entry.path == path && entry.status < 300;
            locked(&self.0.entries).iter().filter(made).map(|entry| entry.answer.clone()).collect()
        };
        match path {
            "/" => self
                .0
                .spec
                .collections
                .iter()
                .map(|one| (one.path.clone(), of(&one.path)))
                .collect::<Map<_, _>>()
                .into(),
            path => of(path),
        }
    }

    async fn reach(&self, moment: Moment, path: &str) -> Option<StatusCode> {
        let hook = locked(&self.0.hook).clone()?;
        let status = hook(moment, path).await?;
        StatusCode::from_u16(status).ok()
    }

    fn is_known(&self, headers: &HeaderMap) -> bool {
        self.0.shared.injected.as_ref().is_none_or(|(name, value)| {
            headers.get(name).is_some_and(|given| given.as_bytes() == value.expose_secret().as_bytes())
        })
    }

    /// Makes a record, or finds the answer that was given to `key` before.
    async fn make(&self, collection: &Collection, key: &str, asked: Value) -> (StatusCode, Value) {
        if let Some(status) = self.reach(Moment::Asked, &collection.path).await {
            return (status, json!({}));
        }
        let (status, answer, is_new) = {
            let mut book = locked(&self.0.entries);
            let known = book.iter_mut().find(|entry| entry.path == collection.path && entry.key == key);
            match known {
                Some(entry) if entry.asked != asked => (422, json!({"reason": "the key was used otherwise"}), false),
                Some(entry) => {
                    entry.times += 1;
                    (if entry.status < 300 { 200 } else { entry.status }, entry.answer.clone(), false)
                }
                None => {
                    let (status, answer) = collection.first_answer(&asked);
                    let (path, key) = (collection.path.clone(), key.to_owned());
                    book.push(Entry { path, key, asked, status, answer: answer.clone(), times: 1 });
                    (status, answer, status < 300)
                }
            }
        };
        if is_new && let Some(event) = &collection.event {
            tokio::spawn(self.clone().report(event.clone(), answer.clone()));
        }
        if let Some(status) = self.reach(Moment::Done, &collection.path).await {
            return (status, json!({}));
        }
        (StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY), answer)
    }

    /// Tells the webhook, until it says that it heard.
    async fn report(self, event: String, data: Value) {
        let (Some(webhook), Some(ring)) = (&self.0.spec.webhook, &self.0.shared.webhook) else { return };
        let body = json!({"type": event, "data": data}).to_string();
        for _ in 0..REPORTS_MAX {
            let time = jiff::Timestamp::now().as_second();
            let signature = secret::sign(ring, format!("{time}.{body}").as_bytes());
            let Some(api) = locked(&self.0.api).clone() else { return };
            let request = Request::post(format!("{api}{}", webhook.path))
                .header(header::CONTENT_TYPE, "application/json")
                .header(&webhook.header, format!("t={time},v1={signature}"))
                .body(Body::from(body.clone()));
            let Ok(request) = request else { return };
            if self.0.client.request(request).await.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(REPORT_EVERY).await;
        }
    }
}

impl Collection {
    fn first_answer(&self, asked: &Value) -> (u16, Value) {
        if let Some(refusal) = &self.refusal
            && asked.get(&refusal.field) == Some(&refusal.value)
        {
            return (refusal.status, refusal.body.clone());
        }
        let mut record =
            BTreeMap::from([("id".to_owned(), json!(format!("{}{}", self.prefix, uuid::Uuid::new_v4().simple())))]);
        record.extend(asked.as_object().cloned().into_iter().flatten());
        (201, json!(record))
    }
}

async fn answer(State(fake): State<Fake>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let refused = |status: StatusCode, why: &str| (status, axum::Json(json!({"reason": why}))).into_response();
    if method == Method::GET {
        let shown = serde_json::to_string_pretty(&fake.list(uri.path())).unwrap_or_default();
        return ([(header::CONTENT_TYPE, "application/json")], shown + "\n").into_response();
    }
    let collection = fake.0.spec.collections.iter().find(|one| one.path == uri.path()).cloned();
    let Some(collection) = collection.filter(|_| method == Method::POST) else {
        return refused(StatusCode::NOT_FOUND, "no such collection");
    };
    if !fake.is_known(&headers) {
        return refused(StatusCode::UNAUTHORIZED, "who are you?");
    }
    let Some(key) = headers.get("idempotency-key").and_then(|key| key.to_str().ok()) else {
        return refused(StatusCode::BAD_REQUEST, "no Idempotency-Key");
    };
    let Ok(asked @ Value::Object(_)) = serde_json::from_slice(&body) else {
        return refused(StatusCode::BAD_REQUEST, "no JSON object");
    };
    let (status, answer) = fake.make(&collection, key, asked).await;
    (status, axum::Json(answer)).into_response()
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
