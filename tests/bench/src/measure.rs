//! Slices of load, the sides in turn, and what they amount to.

use std::time::Duration;

use nix::sys::resource::{Usage, UsageWho, getrusage};

use crate::{
    drive::{Driver, Order, Tally},
    scenario::{Landing, Measure, Scenario, Side},
};

/// Keep-alive connections of the driver.
const CONNECTIONS: usize = 16;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Slices of each side.
    pub(crate) rounds: usize,
    pub(crate) slice_ms: u64,
    /// Load before the first slice counts.
    pub(crate) warm_ms: u64,
}

impl Plan {
    /// Quick is for seeing that it works.
    pub(crate) fn of(is_quick: bool) -> Self {
        match is_quick {
            true => Self { rounds: 8, slice_ms: 200, warm_ms: 300 },
            false => Self { rounds: 12, slice_ms: 1_200, warm_ms: 1_500 },
        }
    }
}

/// One slice of one side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub(crate) cpu_us: f64,
    pub(crate) per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Page faults of the server's process per request.
    pub(crate) faults: f64,
}

/// A scenario's slices, by side.
#[derive(Debug)]
pub(crate) struct Result {
    pub(crate) title: &'static str,
    pub(crate) sides: Vec<(&'static str, Vec<Slice>)>,
    pub(crate) landings: Vec<Landing>,
}

/// The host against one side, over all rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    /// The middle half of the rounds lies between these.
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Measures the sides in turn; who comes first in a round changes, so that no side always follows the same one.
pub(crate) fn measure(driver: &mut Driver, scenario: &Scenario, plan: Plan) -> Result {
    eprintln!("{} …", scenario.title);
    let count = scenario.sides.len();
    for side in &scenario.sides {
        slice(driver, side, plan.warm_ms);
    }
    let mut slices: Vec<Vec<Slice>> = vec![Vec::with_capacity(plan.rounds); count];
    for round in 0..plan.rounds {
        for turn in 0..count {
            let at = (round + turn) % count;
            slices[at].push(slice(driver, &scenario.sides[at], plan.slice_ms));
        }
    }
    let sides = scenario.sides.iter().map(|side| side.title).zip(slices).collect();
    Result { title: scenario.title, sides, landings: scenario.landings.clone() }
}

/// Loads one side, named `scenario:side`, for as long as somebody wants to look at it.
pub(crate) fn load(driver: &mut Driver, scenarios: &[Scenario], place: &str, seconds: u64) {
    let sides = scenarios.iter().flat_map(|scenario| scenario.sides.iter().map(move |side| (scenario.name, side)));
    let named = |(scenario, side): (&str, &Side)| format!("{scenario}:{}", side.name);
    let Some((_, side)) = sides.clone().find(|found| named(*found) == place) else {
        panic!("`{place}` is none of {:?}", sides.map(named).collect::<Vec<_>>());
    };
    slice(driver, side, 1_000);
    eprintln!("server {} under load for {seconds} s", std::process::id());
    let mut usages = Vec::new();
    let tally = driver.run(&order(side, seconds * 1_000), || usages.push(usage()));
    let Slice { cpu_us, per_s, p50_us, p99_us, faults } = summed(&usages, &tally);
    println!("{place}: {} requests, {per_s:.0}/s, {cpu_us:.2} µs CPU, {faults:.4} page faults", tally.requests);
    println!("p50 {p50_us:.0} µs, p99 {p99_us:.0} µs");
    let switches = usages[1].voluntary_context_switches() - usages[0].voluntary_context_switches();
    println!("{:.3} voluntary context switches a request", switches as f64 / tally.requests as f64);
}

fn order(side: &Side, ms: u64) -> Order {
    Order { address: side.address, requests: side.requests.clone(), connections: CONNECTIONS, ms }
}

fn slice(driver: &mut Driver, side: &Side, ms: u64) -> Slice {
    let mut usages = Vec::with_capacity(2);
    let tally = driver.run(&order(side, ms), || usages.push(usage()));
    summed(&usages, &tally)
}

fn usage() -> Usage {
    getrusage(UsageWho::RUSAGE_SELF).expect("getrusage")
}

fn summed(usages: &[Usage], tally: &Tally) -> Slice {
    let [before, after] = usages else { panic!("usage is taken twice") };
    let requests = tally.requests.max(1) as f64;
    let cpu = cpu(after).saturating_sub(cpu(before));
    Slice {
        cpu_us: cpu.as_secs_f64() * 1e6 / requests,
        per_s: requests / tally.seconds,
        p50_us: tally.p50_us,
        p99_us: tally.p99_us,
        faults: (after.minor_page_faults() - before.minor_page_faults()) as f64 / requests,
    }
}

fn cpu(usage: &Usage) -> Duration {
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| Duration::from_micros(u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0)))
        .sum()
}

impl Result {
    /// A side's middle value of something.
    pub(crate) fn median(&self, side: usize, of: impl Fn(&Slice) -> f64) -> f64 {
        quantile(self.sides[side].1.iter().map(of).collect(), 0.5)
    }

    /// The host against a side, round by round.
    pub(crate) fn ratio(&self, against: usize, measure: Measure) -> Ratio {
        let of = |slice: &Slice| match measure {
            Measure::Cpu => slice.cpu_us,
            Measure::Throughput => slice.per_s,
        };
        let rounds = self.sides[0].1.iter().zip(&self.sides[against].1);
        let ratios: Vec<f64> = rounds.map(|(host, other)| of(host) / of(other)).collect();
        let at = |share| quantile(ratios.clone(), share);
        Ratio { median: at(0.5), low: at(0.25), high: at(0.75) }
    }
}

fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let place = share * (values.len() as f64 - 1.0);
    let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
    low + (high - low) * place.fract()
}
