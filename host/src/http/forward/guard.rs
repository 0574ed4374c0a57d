//! `If-Match` on a route that changes something: what is there now is asked of the plugin itself, by the function that
//! shows it, in the same transaction, and compared with what the client read. See [`super::super::condition`].

use axum::http::{header, request::Parts};

use super::{Request, of_path, reply};
use crate::{
    access::policy::Rule,
    capability::grants::Grants,
    error::Error,
    http::{
        condition::{Tags, tag},
        router::{Guard, Served, Source},
    },
    plugin::{
        call,
        cursor::Scope,
        value::{self, Boundary, Reader},
    },
};

/// What has to be so before the plugin may change anything.
#[derive(Debug)]
pub(super) struct Condition<'s> {
    guard: &'s Guard,
    tags: Tags,
}

impl<'s> Condition<'s> {
    /// What the request asks, on a route that a guard can decide it for.
    ///
    /// # Errors
    /// 400 for what cannot be read; 412 for `If-None-Match`, because such a route changes what is there and makes nothing;
    /// 428 where the route changes nothing without.
    pub(super) fn read(served: &'s Served, parts: &Parts) -> Result<Option<Self>, Error> {
        let Some(guard) = &served.guard else { return Ok(None) };
        if Tags::read(&parts.headers, &header::IF_NONE_MATCH)?.is_some() {
            return Err(Error::PreconditionFailed);
        }
        match Tags::read(&parts.headers, &header::IF_MATCH)? {
            Some(tags) => Ok(Some(Self { guard, tags })),
            None if served.route.if_match => Err(Error::PreconditionRequired),
            None => Ok(None),
        }
    }

    /// Gives the grants back, with the transaction open and what was read in it unchanged until its end.
    ///
    /// # Errors
    /// 412 when it is something else by now; what the guard itself says when there is nothing, or nothing for this caller.
    pub(super) async fn ensure_unchanged(
        &self,
        served: &Served,
        boundary: &Boundary<'_>,
        request: &Request<'_>,
        mut grants: Grants,
    ) -> Result<Grants, Error> {
        grants.only_read_first();
        let (guard, plugin, permit) = (self.guard, &served.plugin, grants.permit());
        // To learn by a condition what one may not read would be a way around the rule.
        if let Rule::AnyOf(roles) = &guard.rule
            && !roles.iter().any(|role| permit.has(role))
        {
            return Err(Error::Forbidden(guard.denial.clone()));
        }
        let scope = Scope { plugin: plugin.id().as_str(), function: &guard.function, caller: permit.actor().account() };
        let boundary = Boundary { sealer: boundary.sealer, scope };
        let mut reader = Reader::new(&boundary);
        let mut arguments = Vec::with_capacity(guard.sources.len());
        for (source, parameter) in guard.sources.iter().zip(&guard.endpoint.params) {
            arguments.extend(match source {
                Source::Caller => Some(value::caller(permit)),
                _ => of_path(request, parameter, &mut reader)?,
            });
        }
        let violations = reader.into_violations();
        if !violations.is_empty() {
            return Err(Error::Invalid(violations));
        }
        let answer = call::invoke(plugin, &guard.export, grants, &arguments).await?;
        let shown = reply::represent(plugin, guard.endpoint.gives.as_ref(), &boundary, answer)?;
        let mut grants = shown.grants;
        if !self.tags.hold(&tag(&shown.body)) {
            grants.into_transaction().rollback();
            return Err(Error::PreconditionFailed);
        }
        grants.begin_to_write();
        Ok(grants)
    }
}
