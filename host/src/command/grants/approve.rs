//! `dinehub grants approve | revoke`: the only commands that write `plugins/grants.lock`.

use std::{
    fs,
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;
use semver::Version;

use super::{Artefacts, diff, find, key};
use crate::{
    command::project::{Project, read_lock},
    error::{Fault, Setup},
    id::PluginId,
    plugin::lock::{Block, Lock},
};

/// `dinehub grants approve`
#[derive(Clone, Debug, Args)]
pub struct Approve {
    pub plugin: PluginId,
    /// Your name in reviewers.toml.
    #[arg(long, value_name = "NAME")]
    pub reviewer: String,
    /// Your private key.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Keep this version approved as well, until the next approval: hosts may go back to it, or serve it at the same time
    /// when its major version is another. May be given several times.
    #[arg(long, value_name = "VERSION")]
    pub keep: Vec<Version>,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub artefacts: Artefacts,
}

/// `dinehub grants revoke`
#[derive(Clone, Debug, Args)]
pub struct Revoke {
    pub plugin: PluginId,
}

/// Shows what would be approved, asks, signs, and writes the lock.
pub fn run(project: &Project, approve: &Approve) -> Setup<()> {
    let Approve { plugin, reviewer, .. } = approve;
    let mut book = project.book()?;
    let signing = key::read(&approve.key)?;
    let listed = project.reviewers_file().display().to_string();
    match book.reviewers.reviewers.get(reviewer) {
        Some(known) if *known == signing.public() => {}
        Some(_) => {
            return Err(Fault::new(
                approve.key.display().to_string(),
                format!("is not the key of {reviewer} in {listed}"),
            ));
        }
        None => {
            return Err(Fault::new(listed, format!("has no reviewer {reviewer}"))
                .fix(format!("add [reviewer.{reviewer}] with this key: key = \"{}\"", signing.public().key)));
        }
    }
    let mut all = approve.artefacts.asked(project)?;
    all.sort_by(|one, other| other.version.cmp(&one.version));
    let mut asked = find(&all, plugin, |block| &block.id)?.clone();
    let known = book.lock.find(plugin);
    for version in &approve.keep {
        let old = known.into_iter().flat_map(Block::parts).chain(all.iter().filter(|one| one.id == *plugin).cloned());
        let kept =
            old.filter(|one| one.digest != asked.digest).find(|one| one.version == *version).ok_or_else(|| {
                Fault::new(
                    plugin.as_str(),
                    format!("no version {version} was approved or is built beside {}", asked.version),
                )
            })?;
        asked.kept.push(kept.to_kept());
    }
    if asked.parts().any(|part| part.authors.is_empty()) {
        return Err(Fault::new(
            format!("{plugin}: plugin.toml"),
            "names no authors, so anybody could approve their own work",
        )
        .fix("authors = [\"NAME\"]"));
    }
    if asked.parts().any(|part| part.authors.contains(reviewer)) {
        return Err(
            Fault::new(plugin.as_str(), format!("{reviewer} is one of its authors")).fix("ask another reviewer")
        );
    }
    for part in asked.parts() {
        print!("{}", diff::table(known.map(|known| known.part(&part)).as_ref(), Some(&part), &[], false));
    }
    for kept in &asked.kept {
        println!("{plugin}: keeps {} sha256:{} approved", kept.version, kept.digest);
    }
    if !(approve.yes || is_confirmed(plugin)?) {
        return Err(Fault::new(plugin.as_str(), "was not approved; nothing was written"));
    }
    let mut block = next(known, asked);
    block.approvals.retain(|approval| approval.reviewer != *reviewer);
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    block.approvals.push(signing.approve(&block, reviewer, &today));
    block.approvals.sort_by(|one, other| one.reviewer.cmp(&other.reviewer));
    println!("{plugin} {}: approval {} by {reviewer}", block.version, block.generation);
    book.lock.put(block);
    write(&project.lock_file(), &book.lock)
}

/// The known block when it is the same, to be signed once more; else the next generation, with no signature yet.
fn next(known: Option<&Block>, asked: Block) -> Block {
    let generation = known.map_or(0, |known| known.generation);
    match known {
        Some(known) if (Block { generation, ..asked.clone() }).canonical() == known.canonical() => known.clone(),
        _ => Block { generation: generation + 1, ..asked },
    }
}

/// Takes the whole block out: the host then refuses the plugin.
pub fn revoke(project: &Project, revoke: &Revoke) -> Setup<()> {
    let path = project.lock_file();
    let mut lock = read_lock(&path)?;
    let Some(block) = lock.remove(&revoke.plugin) else {
        return Err(Fault::new(path.display().to_string(), format!("has no block for {}", revoke.plugin)));
    };
    write(&path, &lock)?;
    println!("{} {}: revoked; hosts refuse it from their next start on", block.id, block.version);
    println!("a host that serves it now goes on until it is told: dinehub plugin disable {}", block.id);
    Ok(())
}

fn is_confirmed(plugin: &PluginId) -> Setup<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Fault::new(plugin.as_str(), "nobody is there to confirm").fix("--yes, after reading the diff"));
    }
    print!("approve? type the plugin's id: ");
    std::io::stdout().flush().map_err(Fault::at("terminal"))?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(Fault::at("terminal"))?;
    Ok(line.trim() == plugin.as_str())
}

/// Readers see the old lock or the new one, never half of one.
fn write(path: &Path, lock: &Lock) -> Setup<()> {
    let place = path.display().to_string();
    let fresh = path.with_extension("lock.new");
    fs::write(&fresh, lock.print()?).and_then(|()| fs::rename(&fresh, path)).map_err(Fault::at(place))
}
