//! Seeds through the public API: a list of accounts and a list of requests. The host knows no restaurant.
//!
//! ```json
//! {"accounts": [{"email": "ada@example.com", "name": "Ada", "password": "…", "roles": ["USER"]}],
//!  "requests": [{"as": "ada@example.com", "method": "POST", "path": "/api/v1/…", "body": {}, "keep": {"id": "/id"}}]}
//! ```
//! `keep` takes values out of a response by JSON Pointer; later requests use them as `{id}`.

use std::{collections::BTreeMap, fs, path::Path};

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    error::{Fault, Setup},
    id::Role,
    identity::{Identity, account::NewAccount},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seed {
    accounts: Vec<Login>,
    requests: Vec<Step>,
}

/// An account of the seed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub email: String,
    pub name: String,
    pub password: String,
    pub roles: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    #[serde(rename = "as")]
    actor: String,
    method: String,
    path: String,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    keep: BTreeMap<String, String>,
}

type Http = Client<hyper_util::client::legacy::connect::HttpConnector, Full<bytes::Bytes>>;

/// Runs the seed at `path` against the API at `address`, once: `mark` remembers which seed was run. Gives its logins.
pub async fn run(path: &Path, address: &str, identity: &Identity, mark: &Path) -> Setup<Vec<Login>> {
    let place = path.display().to_string();
    let text = fs::read_to_string(path).map_err(Fault::at(&place))?;
    let seed: Seed = serde_json::from_str(&text).map_err(Fault::at(&place))?;
    let digest = hex::encode(Sha256::digest(&text));
    if fs::read_to_string(mark).is_ok_and(|known| known == digest) {
        return Ok(seed.accounts);
    }
    if mark.exists() {
        return Err(Fault::new(place, "changed since this database was seeded").fix("dinehub dev --fresh"));
    }
    for account in &seed.accounts {
        create(&place, identity, account).await?;
    }
    let mut runner = Runner {
        client: Client::builder(TokioExecutor::new()).build_http(),
        address,
        tokens: BTreeMap::new(),
        kept: BTreeMap::new(),
    };
    for (at, step) in seed.requests.iter().enumerate() {
        runner.step(&seed.accounts, step).await.map_err(|fault| fault.within(format!("{place}: requests[{at}]")))?;
    }
    fs::write(mark, digest).map_err(Fault::at(mark.display().to_string()))?;
    Ok(seed.accounts)
}

async fn create(place: &str, identity: &Identity, login: &Login) -> Setup<()> {
    let at = || format!("{place}: account {}", login.email);
    let refused = |error: crate::error::Error| Fault::new(at(), error.log().into_owned());
    if identity.find_by_email(&login.email).await.map_err(refused)?.is_some() {
        return Ok(());
    }
    let roles: Result<Vec<Role>, _> = login.roles.iter().map(|role| role.parse()).collect();
    let roles = roles.map_err(|error| Fault::new(at(), error))?;
    let password = SecretString::from(login.password.clone());
    let new = NewAccount { email: login.email.clone(), name: login.name.clone(), password };
    identity.create(new, &roles).await.map(drop).map_err(refused)
}

struct Runner<'a> {
    client: Http,
    address: &'a str,
    tokens: BTreeMap<String, String>,
    kept: BTreeMap<String, String>,
}

impl Runner<'_> {
    async fn step(&mut self, accounts: &[Login], step: &Step) -> Setup<()> {
        let token = self.token(accounts, &step.actor).await?;
        let path = self.fill(&step.path);
        let body = step.body.clone().map(|body| self.fill_all(body));
        let answer = self.send(&step.method, &path, Some(&token), body.as_ref()).await?;
        for (name, pointer) in &step.keep {
            let value = answer.pointer(pointer).and_then(Value::as_str);
            let value =
                value.ok_or_else(|| Fault::new(path.clone(), format!("the response has no text at {pointer}")))?;
            self.kept.insert(name.clone(), value.to_owned());
        }
        Ok(())
    }

    async fn token(&mut self, accounts: &[Login], email: &str) -> Setup<String> {
        if let Some(token) = self.tokens.get(email) {
            return Ok(token.clone());
        }
        let login = accounts.iter().find(|login| login.email == email);
        let login = login.ok_or_else(|| Fault::new(email, "is no account of the seed"))?;
        let body = json!({"email": login.email, "password": login.password});
        let answer = self.send("POST", "/api/v1/auth/login", None, Some(&body)).await?;
        let token = answer.get("access_token").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.tokens.insert(email.to_owned(), token.clone());
        Ok(token)
    }

    async fn send(&self, method: &str, path: &str, token: Option<&str>, body: Option<&Value>) -> Setup<Value> {
        let place = format!("{method} {path}");
        let fault = |error: &dyn std::fmt::Display| Fault::new(place.clone(), error.to_string());
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let bytes = body.map(Value::to_string).unwrap_or_default();
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::from(bytes)).map_err(|error| fault(&error))?;
        let response = self.client.request(request).await.map_err(|error| fault(&error))?;
        let status = response.status();
        let bytes = response.into_body().collect().await.map_err(|error| fault(&error))?.to_bytes();
        if !status.is_success() {
            return Err(Fault::new(place, format!("answered {status}: {}", String::from_utf8_lossy(&bytes))));
        }
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(Fault::at(place))
    }

    fn fill(&self, text: &str) -> String {
        self.kept.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }

    fn fill_all(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.fill(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.fill_all(item)).collect(),
            Value::Object(members) => members.into_iter().map(|(name, value)| (name, self.fill_all(value))).collect(),
            other => other,
        }
    }
}
