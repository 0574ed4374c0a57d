//! Tokens: JWS compact, HS256 and nothing else (RFC 7515, RFC 7519, RFC 8725).
//!
//! A token is read in this order, and each step only sees what the one before let through: its form (three base64url
//! parts, at most 8 KiB), its header (`alg`, `typ`, `kid`; any other name is refused, so `jku`, `crit` or `zip` cannot
//! mean anything), the key that `kid` names in the ring in memory, the signature, and only then the claims. All claims
//! are required, none may be there twice, none may be of another type. Times are whole seconds; `nbf` and `iat` have
//! five seconds of leeway for another node's clock, `exp` has none.
//!
//! A token says what it is for in `typ`: the [`Kind`] is asked for by whoever verifies, so one kind is never another.

use std::{fmt, sync::Arc};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    error::{Error, Fault, Setup, Unproven},
    id::{AccountId, Role, SessionId, TokenId},
    secret::ring::{Key, Ring},
};

/// How long the second step of a login may take.
pub const PENDING_S_MAX: u64 = 300;
/// No token is good for longer, whoever signed it: 24 hours.
pub const LIFETIME_S_MAX: u64 = 24 * 3600;
/// How far ahead another node's clock may be.
pub const LEEWAY_S: u64 = 5;
/// The longest text that is looked at.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;
const HEADER_BYTES_MAX: usize = 256;
const ROLES_MAX: usize = 16;

/// What a token is for. One kind is never accepted as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Proves who is asking.
    Access,
    /// The password was right, the second factor is not here yet.
    MfaPending,
}

/// How somebody proved who they are (`acr`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assurance {
    /// By a password; the account has no second factor.
    Pwd,
    /// By a password and a second factor.
    Mfa,
}

/// SHA-256 of the id of a token or a session; all that logs and the list of revocations hold of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdHash(pub [u8; 32]);

impl IdHash {
    /// The hash of one id.
    #[must_use]
    pub fn of(id: Uuid) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, id.as_bytes()).as_ref());
        Self(hash)
    }
}

/// Whom a token is for, and how they proved it.
#[derive(Clone, Debug)]
pub struct Holder {
    pub account: AccountId,
    pub session: SessionId,
    /// The account's epoch when the token was issued.
    pub epoch: i64,
    pub roles: Arc<[Role]>,
    pub assurance: Assurance,
    /// When the last proof was given, in seconds since 1970 (`auth_time`).
    pub proved_s: u64,
}

/// What a token proved, before anybody asked whether it was revoked.
#[derive(Clone, Debug)]
pub struct Verified {
    pub holder: Holder,
    pub token: TokenId,
    /// Seconds since 1970.
    pub expires_s: u64,
}

/// A fresh token. Its text prints as dots.
#[derive(Clone, Debug)]
pub struct Issued {
    pub text: SecretString,
    /// Seconds since 1970.
    pub expires_s: u64,
}

/// The claims, as they are in the token. Unknown and repeated names are refused by serde.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: AccountId,
    sid: SessionId,
    jti: TokenId,
    typ: Kind,
    acr: Assurance,
    auth_time: u64,
    iat: u64,
    nbf: u64,
    exp: u64,
    epoch: i64,
    roles: Arc<[Role]>,
}

/// The header, as it must be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

/// Makes and proves tokens with one ring. Keys are prepared once.
pub struct Tokens {
    header: Header,
    signing: EncodingKey,
    verifying: Vec<(Key, DecodingKey)>,
    issuer: String,
    audience: String,
    lifetime_s: u64,
}

impl Tokens {
    /// Refuses a lifetime of nothing or of more than [`LIFETIME_S_MAX`]; the ring has refused short keys before.
    pub fn new(ring: &Ring, issuer: &str, audience: &str, lifetime_s: u64) -> Setup<Self> {
        if !(1..=LIFETIME_S_MAX).contains(&lifetime_s) {
            return Err(Fault::new("token lifetime", format!("is {lifetime_s} s"))
                .fix(format!("choose 1–{LIFETIME_S_MAX} seconds")));
        }
        let verifying = ring.keys().map(|key| (key.clone(), DecodingKey::from_secret(key.expose_secret())));
        Ok(Self {
            header: Header { kid: Some(ring.current.id().to_owned()), ..Header::new(Algorithm::HS256) },
            signing: EncodingKey::from_secret(ring.current.expose_secret()),
            verifying: verifying.collect(),
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            lifetime_s,
        })
    }

    /// When a token of a kind, issued now, expires: seconds since 1970.
    #[must_use]
    pub fn expiry_s(&self, kind: Kind, now_s: u64) -> u64 {
        now_s.saturating_add(match kind {
            Kind::Access => self.lifetime_s,
            Kind::MfaPending => self.lifetime_s.min(PENDING_S_MAX),
        })
    }

    /// Signs a token.
    pub fn issue(&self, kind: Kind, holder: &Holder, now_s: u64) -> Result<Issued, Error> {
        let expires_s = self.expiry_s(kind, now_s);
        let claims = Claims {
            iss: &self.issuer,
            aud: &self.audience,
            sub: holder.account,
            sid: holder.session,
            jti: TokenId::fresh(),
            typ: kind,
            acr: holder.assurance,
            auth_time: holder.proved_s,
            iat: now_s,
            nbf: now_s,
            exp: expires_s,
            epoch: holder.epoch,
            roles: holder.roles.clone(),
        };
        let text = jsonwebtoken::encode(&self.header, &claims, &self.signing).map_err(Error::internal)?;
        Ok(Issued { text: SecretString::from(text), expires_s })
    }

    /// Proves a token of one kind. Does not know about revocation.
    pub fn verify(&self, text: &str, kind: Kind, now_s: u64) -> Result<Verified, Unproven> {
        let (message, signature) = split(text)?;
        let (header, payload) = message.split_once('.').ok_or(Unproven::Malformed)?;
        if header.len() > HEADER_BYTES_MAX {
            return Err(Unproven::Malformed);
        }
        let header = decode(header)?;
        let head: Head = serde_json::from_slice(&header).map_err(|_| Unproven::Forged)?;
        if head.alg != "HS256" || head.typ != "JWT" {
            return Err(Unproven::Forged);
        }
        let (named, key) = self.verifying.iter().find(|(key, _)| key.id() == head.kid).ok_or(Unproven::Forged)?;
        if named.is_over(now_s) {
            return Err(Unproven::Forged);
        }
        match jsonwebtoken::crypto::verify(signature, message.as_bytes(), key, Algorithm::HS256) {
            Ok(true) => {}
            Ok(false) | Err(_) => return Err(Unproven::Forged),
        }
        let payload = decode(payload)?;
        let claims: Claims = serde_json::from_slice(&payload).map_err(|_| Unproven::Forged)?;
        self.check(claims, kind, now_s)
    }

    fn check(&self, claims: Claims<'_>, kind: Kind, now_s: u64) -> Result<Verified, Unproven> {
        let latest_s = now_s.saturating_add(LEEWAY_S);
        let lifetime_s = claims.exp.checked_sub(claims.iat).ok_or(Unproven::Forged)?;
        let is_ours = claims.iss == self.issuer
            && claims.aud == self.audience
            && claims.typ == kind
            && claims.epoch >= 0
            && claims.roles.len() <= ROLES_MAX
            && (1..=LIFETIME_S_MAX).contains(&lifetime_s)
            && claims.auth_time <= claims.iat
            && claims.nbf <= claims.exp;
        if !is_ours {
            return Err(Unproven::Forged);
        }
        if claims.exp <= now_s || claims.nbf > latest_s || claims.iat > latest_s {
            return Err(Unproven::Expired);
        }
        Ok(Verified {
            holder: Holder {
                account: claims.sub,
                session: claims.sid,
                epoch: claims.epoch,
                roles: claims.roles,
                assurance: claims.acr,
                proved_s: claims.auth_time,
            },
            token: claims.jti,
            expires_s: claims.exp,
        })
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({:?} …)", self.verifying.iter().map(|(key, _)| key.id()).collect::<Vec<_>>())
    }
}

/// The signed message and the signature of a text in strict compact form: three parts, none empty, base64url only.
fn split(text: &str) -> Result<(&str, &str), Unproven> {
    let is_strict = text.len() <= TOKEN_BYTES_MAX
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && text.split('.').count() == 3
        && text.split('.').all(|part| !part.is_empty());
    if !is_strict {
        return Err(Unproven::Malformed);
    }
    text.rsplit_once('.').ok_or(Unproven::Malformed)
}

/// The JSON object in a part. Only an object: serde would read an array as the same struct.
fn decode(part: &str) -> Result<Vec<u8>, Unproven> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| Unproven::Malformed)?;
    if json.first() == Some(&b'{') { Ok(json) } else { Err(Unproven::Malformed) }
}
