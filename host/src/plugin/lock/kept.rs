//! What a block keeps approved beside its own artefact.
//!
//! An approval replaces the one before, so that an old artefact does not come back unnoticed. Whoever wants one back, to go
//! back to or to serve at the same time, has a reviewer say so in the newest block.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;
use serde::{Deserialize, Serialize};

use super::{Block, Kind};

/// An older artefact that a reviewer keeps approved beside a block's own: hosts may go back to it, or serve it at the same
/// time when its major version is another. It stands inside the block and under its signatures, so that nobody but a
/// reviewer brings an old artefact back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    pub version: Version,
    pub digest: String,
    pub authors: BTreeSet<String>,
    pub grants: BTreeMap<Kind, BTreeSet<String>>,
}

impl Block {
    /// As it is kept in a newer block.
    #[must_use]
    pub fn to_kept(&self) -> Kept {
        let Self { version, digest, authors, grants, .. } = self.clone();
        Kept { version, digest, authors, grants }
    }

    /// Itself without what it keeps, then each that it keeps as a block of its own.
    pub fn parts(&self) -> impl Iterator<Item = Self> + '_ {
        let bare = Self { kept: Vec::new(), ..self.clone() };
        let kept = self.kept.iter().cloned().map(|Kept { version, digest, authors, grants }| Self {
            version,
            digest,
            authors,
            grants,
            kept: Vec::new(),
            ..self.clone()
        });
        std::iter::once(bare).chain(kept)
    }

    /// The part that an artefact is to be compared with: that of its digest, else that of its major version, else its own.
    #[must_use]
    pub fn part(&self, asked: &Self) -> Self {
        let same = |one: &Self| one.digest == asked.digest;
        let near = |one: &Self| one.version.major == asked.version.major;
        let own = || Self { kept: Vec::new(), ..self.clone() };
        self.parts().find(same).or_else(|| self.parts().find(near)).unwrap_or_else(own)
    }

    /// One block for each plugin: of its newest version, which keeps the others.
    #[must_use]
    pub fn together(mut blocks: Vec<Self>) -> Vec<Self> {
        blocks.sort_by(|one, other| (&one.id, &other.version).cmp(&(&other.id, &one.version)));
        let mut all: Vec<Self> = Vec::new();
        for block in blocks {
            match all.last_mut().filter(|last| last.id == block.id) {
                Some(newest) => newest.kept.push(block.to_kept()),
                None => all.push(block),
            }
        }
        all
    }
}
