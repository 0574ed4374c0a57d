//! How often somebody may ask: each source before anybody is authenticated, each account after, and either on routes
//! that say so (S06).
//!
//! Counted in this process by GCRA, which is a leaky bucket without a drip: a burst at once, then one at a time. Log-in
//! attempts are counted in PostgreSQL beside it ([`crate::identity::throttle`]), because those have to hold over all nodes; what is
//! counted here protects a node from being kept busy, and each node counts for itself.
//!
//! Memory is bounded whoever asks from wherever: see `rate::table`.

mod table;

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::{
    RateLimiter,
    clock::{Clock as _, DefaultClock},
    middleware::StateInformationMiddleware,
};

use self::table::Table;
use super::{
    router::Route,
    source::{self, Networks},
};
use crate::{
    config::Quota,
    error::{Error, Fault, Setup},
    id::AccountId,
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What limits there are, and for whom.
#[derive(Debug)]
pub struct Rates {
    exempt: Networks,
    source: Option<Limiter>,
    account: Option<Limiter>,
    /// What the operator said of routes, by `POST /path`.
    routes: BTreeMap<String, Quota>,
    table: Arc<Table>,
    keys: RandomState,
    born: Instant,
    /// The second, counted from then, in which a refusal was last told of.
    told_s: AtomicU64,
}

impl Default for Rates {
    /// Nobody is limited.
    fn default() -> Self {
        let (routes, table, keys) = (BTreeMap::new(), Arc::new(Table::new(1)), RandomState::new());
        let (born, told_s) = (Instant::now(), AtomicU64::new(0));
        Self { exempt: Networks::default(), source: None, account: None, routes, table, keys, born, told_s }
    }
}

impl Rates {
    /// A quota of no requests a minute is none at all: nobody is limited by it.
    pub fn new(exempt: Networks, source: Quota, account: Quota, routes: BTreeMap<String, Quota>) -> Setup<Self> {
        let table = Arc::new(Table::new(table::SETS));
        let (source, account) = (Limiter::find("source", source, &table)?, Limiter::find("account", account, &table)?);
        let (keys, born, told_s) = (RandomState::new(), Instant::now(), AtomicU64::new(0));
        Ok(Self { exempt, source, account, routes, table, keys, born, told_s })
    }

    /// The limit of a route of its own: what the operator says, or else what its plugin says.
    pub fn of_route(&self, method: &str, pattern: &str, declared: Option<Quota>) -> Setup<Option<Limiter>> {
        match self.routes.get(&format!("{method} {pattern}")).copied().or(declared) {
            Some(quota) => Limiter::find("route", quota, &self.table),
            None => Ok(None),
        }
    }

    /// Routes that the operator speaks of.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.routes.keys().map(String::as_str)
    }

    /// The limits of one request.
    #[must_use]
    pub fn begin(&self, source: IpAddr) -> Standing<'_> {
        let is_limited = !self.exempt.contain(source);
        Standing { rates: self, source, is_limited, tightest: None, refused: None }
    }
}

/// How one request stands with the limits that were asked so far.
#[derive(Debug)]
pub struct Standing<'r> {
    rates: &'r Rates,
    source: IpAddr,
    is_limited: bool,
    tightest: Option<(&'static str, HeaderValue, Left)>,
    refused: Option<(&'static str, u64)>,
}

/// What is left of a quota, and when all of it is there again or, if nothing is left, the next one.
#[derive(Clone, Copy, Debug)]
struct Left {
    requests: u32,
    reset_s: u64,
}

impl Standing<'_> {
    /// The address that the request counts for.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        self.source
    }

    /// Which limit refused and for how long, for the audit: once a second, because a flood that is refused must not become
    /// a flood of events. The metrics count every one.
    #[must_use]
    pub fn refusal_to_tell(&self) -> Option<(&'static str, u64)> {
        let now_s = self.rates.born.elapsed().as_secs() + 1;
        self.refused.filter(|_| self.rates.told_s.swap(now_s, Relaxed) != now_s)
    }

    /// Before anything is looked up: what comes from one source, whoever it says it is.
    pub fn ask_source(&mut self) -> Result<(), Error> {
        self.ask(self.rates.source.as_ref(), &("source", source::network(self.source)))
    }

    /// After authentication: one account, from wherever it comes; and the route's own limit, on the account or, where
    /// nobody logged in, on the source.
    pub fn ask_account(&mut self, account: Option<AccountId>, route: &Route) -> Result<(), Error> {
        if let Some(account) = account {
            self.ask(self.rates.account.as_ref(), &("account", account))?;
        }
        if route.limit.is_none() {
            return Ok(());
        }
        let name = (route.method, route.pattern.as_str());
        match account {
            Some(account) => self.ask(route.limit.as_ref(), &(name, account)),
            None => self.ask(route.limit.as_ref(), &(name, source::network(self.source))),
        }
    }

    fn ask(&mut self, limiter: Option<&Limiter>, key: &impl std::hash::Hash) -> Result<(), Error> {
        let Some(limiter) = limiter.filter(|_| self.is_limited) else { return Ok(()) };
        let left = limiter.charge(self.rates.keys.hash_one(key));
        let (allowed, left) = match left {
            Ok(left) => (Ok(()), left),
            Err(retry_after_s) => {
                metrics::counter!("dinehub_throttled_total", "by" => limiter.name).increment(1);
                self.refused = Some((limiter.name, retry_after_s));
                (Err(Error::Throttled { retry_after_s }), Left { requests: 0, reset_s: retry_after_s })
            }
        };
        if self.tightest.as_ref().is_none_or(|(_, _, other)| left.requests <= other.requests) {
            self.tightest = Some((limiter.name, limiter.policy.clone(), left));
        }
        allowed
    }

    /// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10), of the limit that is nearest.
    pub fn write(&self, headers: &mut HeaderMap) {
        let Some((name, policy, Left { requests, reset_s })) = &self.tightest else { return };
        let text = format!("\"{name}\";r={requests};t={reset_s}");
        headers.extend(HeaderValue::try_from(text).ok().map(|value| (RATE_LIMIT, value)));
        headers.insert(RATE_LIMIT_POLICY, policy.clone());
    }
}

/// One quota, over all keys.
pub struct Limiter {
    name: &'static str,
    policy: HeaderValue,
    burst: u32,
    each: Duration,
    gcra: RateLimiter<u64, table::Shared, DefaultClock, StateInformationMiddleware>,
}

impl Limiter {
    fn find(name: &'static str, quota: Quota, table: &Arc<Table>) -> Setup<Option<Self>> {
        if quota.per_minute == 0 { Ok(None) } else { Self::new(name, quota, table).map(Some) }
    }

    fn new(name: &'static str, quota: Quota, table: &Arc<Table>) -> Setup<Self> {
        let Quota { burst, per_minute } = quota;
        let each = Duration::from_secs(60).checked_div(per_minute).unwrap_or_default();
        let of = governor::Quota::with_period(each).zip(NonZeroU32::new(burst));
        let (of, burst) = of.ok_or_else(|| {
            Fault::new(format!("rate of {name}"), "must allow something")
                .fix("burst = 20, per_minute = 60; or per_minute = 0 for no limit")
        })?;
        let window_s = (each * burst.get()).as_secs().max(1);
        let policy = HeaderValue::try_from(format!("\"{name}\";q={burst};w={window_s}")).map_err(Fault::at("rate"))?;
        let gcra = RateLimiter::new(of.allow_burst(burst), table::Shared(Arc::clone(table)), DefaultClock::default());
        Ok(Self { name, policy, burst: burst.get(), each, gcra })
    }

    /// Takes one from what `key` has left, or says after how many seconds there is one.
    fn charge(&self, key: u64) -> Result<Left, u64> {
        match self.gcra.check_key(&key) {
            Ok(state) => {
                let requests = state.remaining_burst_capacity();
                let missing = self.each * self.burst.saturating_sub(requests);
                Ok(Left { requests, reset_s: whole_seconds(missing) })
            }
            Err(until) => Err(whole_seconds(until.wait_time_from(self.gcra.clock().now())).max(1)),
        }
    }
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Limiter").field(&self.policy).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(source: u32, account: u32) -> Rates {
        let quota = |burst| Quota { burst, per_minute: 1 };
        let exempt = Networks::read("test", &["10.0.0.0/8".to_owned()]).unwrap();
        Rates::new(exempt, quota(source), quota(account), BTreeMap::new()).unwrap()
    }

    fn asks(rates: &Rates, from: &str) -> Result<(), Error> {
        rates.begin(from.parse().unwrap()).ask_source()
    }

    #[test]
    fn a_source_has_its_burst_and_then_waits_and_others_do_not() {
        let rates = rates(3, 9);
        for _ in 0..3 {
            asks(&rates, "203.0.113.7").unwrap();
        }
        let refused = asks(&rates, "203.0.113.7").unwrap_err();
        assert!(matches!(refused, Error::Throttled { retry_after_s: 59..=60 }), "{refused:?}");
        asks(&rates, "203.0.113.8").unwrap();
        for _ in 0..99 {
            asks(&rates, "10.0.0.1").unwrap();
        }
    }

    #[test]
    fn one_customer_of_ipv6_is_one_source() {
        let rates = rates(1, 9);
        asks(&rates, "2001:db8:1:2::1").unwrap();
        assert!(asks(&rates, "2001:db8:1:2:ffff::9").is_err());
        asks(&rates, "2001:db8:1:3::1").unwrap();
    }

    #[test]
    fn the_headers_tell_of_the_nearest_limit() {
        let rates = rates(2, 9);
        let mut standing = rates.begin("203.0.113.1".parse().unwrap());
        standing.ask_source().unwrap();
        let mut headers = HeaderMap::new();
        standing.write(&mut headers);
        assert_eq!(headers[RATE_LIMIT], "\"source\";r=1;t=60");
        assert_eq!(headers[RATE_LIMIT_POLICY], "\"source\";q=2;w=120");
        let mut headers = HeaderMap::new();
        rates.begin("10.0.0.1".parse().unwrap()).write(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn a_flood_of_refusals_is_told_of_once_a_second() {
        let rates = rates(1, 9);
        asks(&rates, "203.0.113.7").unwrap();
        let mut told = 0;
        for _ in 0..1_000 {
            let mut standing = rates.begin("203.0.113.7".parse().unwrap());
            assert!(standing.refusal_to_tell().is_none(), "nothing was refused yet");
            standing.ask_source().unwrap_err();
            told += usize::from(standing.refusal_to_tell().is_some_and(|(limit, _)| limit == "source"));
        }
        assert!((1..100).contains(&told), "{told}");
    }

    #[test]
    fn a_quota_of_nothing_is_no_limit_and_a_burst_of_nothing_a_mistake() {
        let of = |burst, per_minute| {
            let quota = Quota { burst, per_minute };
            Rates::new(Networks::default(), quota, quota, BTreeMap::new())
        };
        let rates = of(0, 0).unwrap();
        for _ in 0..9 {
            asks(&rates, "203.0.113.7").unwrap();
        }
        assert!(of(0, 1).unwrap_err().to_string().contains("must allow something"));
    }
}
