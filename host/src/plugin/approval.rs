//! Whose word counts: reviewers' keys, their signatures over blocks of the lock, and the gate that every plugin passes.
//!
//! What a publisher ships never applies itself. [`Book::admit`] is the one maker of an [`Admission`], and nothing is
//! installed in the database or linked into the host without one. A refusal names the line that is missing.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{self, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    admit::{Candidate, Contracts, Import},
    lock::{Approval, Block, Lock, Sign, compare},
    package::Package,
};
use crate::{
    error::{Fault, Setup},
    id::Denial,
};

/// `plugins/reviewers.toml`: the keys that count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reviewers {
    /// How many of them must approve a plugin; at least one.
    pub approvals_min: usize,
    #[serde(default, rename = "reviewer")]
    pub reviewers: BTreeMap<String, Reviewer>,
}

/// Somebody who may approve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reviewer {
    /// `ed25519:` and the public key in base64.
    pub key: String,
}

const KEY_PREFIX: &str = "ed25519:";

impl Reviewers {
    /// Reads the list; `place` is named in faults. Every key must be one, and no two the same.
    pub fn parse(place: &str, text: &str) -> Setup<Self> {
        let all: Self = toml::from_str(text).map_err(|error| Fault::new(place, error.to_string()))?;
        if all.approvals_min == 0 {
            return Err(Fault::new(place, "approvals_min = 0 would approve everything").fix("approvals_min = 1"));
        }
        let mut keys = BTreeSet::new();
        for (name, reviewer) in &all.reviewers {
            let key = reviewer.public().ok_or_else(|| {
                Fault::new(format!("{place}: [reviewer.{name}]"), "`key` is no Ed25519 key")
                    .fix("dinehub grants key NAME --out FILE prints the line")
            })?;
            if !keys.insert(key) {
                return Err(Fault::new(format!("{place}: [reviewer.{name}]"), "has somebody else's key")
                    .fix("one key is one reviewer"));
            }
        }
        Ok(all)
    }
}

impl Reviewer {
    fn public(&self) -> Option<Vec<u8>> {
        let bytes = BASE64_STANDARD.decode(self.key.strip_prefix(KEY_PREFIX)?).ok()?;
        (bytes.len() == 32).then_some(bytes)
    }
}

/// A reviewer's private key. Prints as dots.
pub struct SigningKey(Ed25519KeyPair);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

impl SigningKey {
    /// A new one, and the text to keep it as.
    pub fn fresh() -> Setup<(Self, Zeroizing<String>)> {
        let broken = |_| Fault::new("signing key", "could not be made");
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(broken)?;
        let text = Zeroizing::new(format!("{}\n", BASE64_STANDARD.encode(document.as_ref())));
        Ok((Self::parse("signing key", &text)?, text))
    }

    /// Reads what [`Self::fresh`] gave; `place` is named in the fault, the text never.
    pub fn parse(place: &str, text: &str) -> Setup<Self> {
        let fault = || Fault::new(place, "is no signing key").fix("dinehub grants key NAME --out FILE makes one");
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(text.trim()).map_err(|_| fault())?);
        Ed25519KeyPair::from_pkcs8(&bytes).map(Self).map_err(|_| fault())
    }

    /// What stands in `reviewers.toml`.
    #[must_use]
    pub fn public(&self) -> Reviewer {
        Reviewer { key: format!("{KEY_PREFIX}{}", BASE64_STANDARD.encode(self.0.public_key())) }
    }

    /// Approves a block. `on` is the day, in UTC.
    #[must_use]
    pub fn approve(&self, block: &Block, reviewer: &str, on: &str) -> Approval {
        let signature = self.0.sign(&message(block, reviewer, on));
        Approval {
            reviewer: reviewer.to_owned(),
            on: on.to_owned(),
            signature: BASE64_STANDARD.encode(signature.as_ref()),
        }
    }
}

/// The signed bytes. The first line keeps a signature from meaning anything elsewhere.
fn message(block: &Block, reviewer: &str, on: &str) -> Vec<u8> {
    let mut message = format!("dinehub grants.lock 1\n{reviewer}\n{on}\n").into_bytes();
    message.extend(block.canonical());
    message
}

/// A candidate whose imports are granted and whose every line was approved. Private fields, one maker.
#[derive(Debug)]
pub struct Admission {
    candidate: Candidate,
    imports: BTreeMap<String, Import>,
    generation: u64,
}

impl Admission {
    /// What was approved.
    #[must_use]
    pub fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    /// The artefact.
    #[must_use]
    pub fn package(&self) -> &Package {
        &self.candidate.package
    }

    /// Its imports, each with what grants it.
    #[must_use]
    pub fn imports(&self) -> &BTreeMap<String, Import> {
        &self.imports
    }

    /// Every function it imports, as (interface, function).
    pub fn functions(&self) -> impl Iterator<Item = (&str, &str)> {
        let of = |name| self.candidate.contract.imports.get(name).into_iter().flatten();
        self.imports.keys().flat_map(move |name| of(name).map(move |(function, _)| (name.as_str(), function.as_str())))
    }

    /// Which approval of this plugin it is; 0 when it was approved for one run only.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Taken apart, to be linked.
    #[must_use]
    pub fn into_parts(self) -> (Candidate, BTreeMap<String, Import>) {
        (self.candidate, self.imports)
    }
}

/// A lock and the keys that count for it.
#[derive(Clone, Debug, Default)]
pub struct Book {
    pub lock: Lock,
    pub reviewers: Reviewers,
}

/// What a set of artefacts asks: a block for each.
pub fn asked(candidates: &[Candidate]) -> Setup<Vec<Block>> {
    let contracts = contracts(candidates);
    candidates.iter().map(|candidate| Ok(Block::of(candidate, &candidate.imports(&contracts)?))).collect()
}

fn contracts<'c>(candidates: impl IntoIterator<Item = &'c Candidate>) -> Contracts {
    candidates.into_iter().map(|candidate| (candidate.series(), candidate.contract.clone())).collect()
}

impl Book {
    /// Reads every package, grants its imports and compares it with the lock; the first refusal refuses all.
    pub fn admit(&self, packages: Vec<Package>) -> Setup<Vec<Admission>> {
        let candidates = packages.into_iter().map(Candidate::read).collect::<Setup<Vec<_>>>()?;
        let contracts = contracts(&candidates);
        let mut seen = BTreeSet::new();
        if let Some(twice) = candidates.iter().find(|candidate| !seen.insert(candidate.series())) {
            let major = twice.package.manifest.version.major;
            return Err(Fault::new(twice.id().as_str(), format!("is installed twice in version {major}"))
                .fix("remove one of the two artefacts: side by side are only different major versions"));
        }
        candidates.into_iter().map(|candidate| self.admit_one(candidate, &contracts)).collect()
    }

    /// One that is held ready beside those that are `serving`: it could take the place of one of them.
    pub fn admit_beside(&self, package: Package, serving: &[Admission]) -> Setup<Admission> {
        let candidate = Candidate::read(package)?;
        let mut contracts = contracts(serving.iter().map(Admission::candidate));
        contracts.insert(candidate.series(), candidate.contract.clone());
        self.admit_one(candidate, &contracts)
    }

    fn admit_one(&self, candidate: Candidate, contracts: &Contracts) -> Setup<Admission> {
        let imports = candidate.imports(contracts)?;
        let generation = self.ensure_approved(&Block::of(&candidate, &imports))?;
        Ok(Admission { candidate, imports, generation })
    }

    /// Whether the lock names this very artefact; what it asks is not looked at.
    #[must_use]
    pub fn names(&self, package: &Package) -> bool {
        let block = self.lock.find(&package.manifest.id);
        block.is_some_and(|block| block.parts().any(|part| part.digest == package.digest))
    }

    /// Whether what is asked is what was approved; the generation of the approval.
    pub fn ensure_approved(&self, asked: &Block) -> Setup<u64> {
        let id = &asked.id;
        let refused = |what: String| Fault::new(id.as_str(), what);
        let review = format!("dinehub grants diff {id}, then dinehub grants approve {id} --reviewer NAME --key FILE");
        let Some(whole) = self.lock.find(id) else {
            return Err(refused("is not approved: grants.lock has no block for it".to_owned()).fix(review));
        };
        self.ensure_signed(whole)?;
        let approved = whole.part(asked);
        if asked.version < approved.version {
            let what = format!("is version {}, older than the approved {}", asked.version, approved.version);
            return Err(refused(what).fix(review));
        }
        let changes = compare(Some(&approved), Some(asked));
        let grown: Vec<_> = changes.iter().filter(|change| change.sign == Sign::Grown).collect();
        if let Some(first) = grown.first() {
            let more = match grown.len() {
                1 => String::new(),
                count => format!(" (and {} more)", count - 1),
            };
            let denial = Denial::line(id.as_str(), &first.kind.to_string(), &first.line);
            let what = format!("asks for what nobody approved: {}: {}{more} ({denial})", first.kind, first.line);
            return Err(
                refused(what).fix(format!("grants.lock lacks this line in its `{}` list; {review}", first.kind))
            );
        }
        if asked.digest != approved.digest || asked.version != approved.version || asked.authors != approved.authors {
            let what = format!(
                "is not the artefact that was approved: {} sha256:{}, approved is {} sha256:{}",
                asked.version, asked.digest, approved.version, approved.digest
            );
            return Err(refused(what).fix(review));
        }
        Ok(approved.generation)
    }

    /// Whether enough reviewers who are not its authors signed the block as it stands.
    pub fn ensure_signed(&self, block: &Block) -> Setup<()> {
        let place = |approval: &Approval| format!("grants.lock: {}: approval of {}", block.id, approval.reviewer);
        let mut counted = BTreeSet::new();
        for approval in &block.approvals {
            let Some(reviewer) = self.reviewers.reviewers.get(&approval.reviewer) else {
                return Err(Fault::new(place(approval), "is by nobody whose key is in reviewers.toml")
                    .fix("a reviewer in that list must approve it"));
            };
            if block.parts().any(|part| part.authors.contains(&approval.reviewer)) {
                return Err(
                    Fault::new(place(approval), "is by one of its authors").fix("somebody else must approve it")
                );
            }
            if !is_signed(reviewer, block, approval) {
                return Err(Fault::new(place(approval), "is void: the block was changed after it was signed")
                    .fix(format!("dinehub grants approve {} --reviewer NAME --key FILE", block.id)));
            }
            counted.insert(&approval.reviewer);
        }
        let wanted = self.reviewers.approvals_min.max(1);
        if counted.len() < wanted {
            let what = format!("has {} of {wanted} approvals", counted.len());
            return Err(Fault::new(format!("grants.lock: {}", block.id), what)
                .fix(format!("dinehub grants approve {} --reviewer NAME --key FILE", block.id)));
        }
        Ok(())
    }
}

fn is_signed(reviewer: &Reviewer, block: &Block, approval: &Approval) -> bool {
    let Some(public) = reviewer.public() else { return false };
    let Ok(signature) = BASE64_STANDARD.decode(&approval.signature) else { return false };
    let message = message(block, &approval.reviewer, &approval.on);
    UnparsedPublicKey::new(&signature::ED25519, public).verify(&message, &signature).is_ok()
}
