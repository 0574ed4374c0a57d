//! One audit event of each kind: every field an event can have is a line that a reviewer saw.

use dinehub::{
    audit::event::{Artefact, By, Event, Masked, What},
    error::Unproven,
    id::{AccountId, Denial, RequestId, TokenId},
};
use uuid::Uuid;

/// One of each. A new variant does not compile until it is listed.
fn all() -> Vec<What> {
    let sample = |what: What| match what {
        What::Proven { .. }
        | What::Unproven { .. }
        | What::Ended { .. }
        | What::Opened { .. }
        | What::Administered { .. }
        | What::Key { .. }
        | What::Denied { .. }
        | What::Throttled { .. }
        | What::Filtered { .. }
        | What::Faulted { .. }
        | What::Stopped { .. }
        | What::Limited { .. }
        | What::Busy { .. }
        | What::Ungranted { .. }
        | What::SecretUsed { .. }
        | What::Sent { .. }
        | What::Unsent { .. }
        | What::Changed { .. }
        | What::Lost { .. } => what,
    };
    let (account, source) = (AccountId(Uuid::from_u128(2)), "203.0.113.7".parse().unwrap());
    let email = || Masked::new("anna@example.org");
    let artefact = || Artefact::new("ordering", "6f544b3a");
    let denial = Some(Denial::route("GET", "/"));
    [
        What::Proven { email: email(), source },
        What::Unproven { why: Unproven::Password, email: Some(email()), source },
        What::Ended { scope: "session" },
        What::Opened { account, email: email() },
        What::Administered { act: "roles.replaced", account, detail: "USER".into() },
        What::Key { act: "in_use", ring: "jwt", key: "2026-11".into() },
        What::Denied { route: "GET /api/v1/admin/users/{id}/roles".into(), denial: denial.clone() },
        What::Throttled { limit: "login", retry_after_s: 30, email: Some(email()), source },
        What::Filtered { rule: "sql-injection".into(), mode: "block", source },
        What::Faulted { artefact: artefact(), detail: "trapped: wasm trap: unreachable".into() },
        What::Stopped { artefact: artefact(), limit: "cpu_ms" },
        What::Limited { artefact: artefact(), limit: "log_lines_max" },
        What::Busy { artefact: artefact() },
        What::Ungranted { artefact: artefact(), import: "statement orders.find".into(), denial },
        What::SecretUsed { artefact: artefact(), secret: "webhook_key".into(), how: "verify" },
        What::Sent {
            artefact: artefact(),
            host: "provider".into(),
            method: "POST",
            path: "/v1/charges".into(),
            answer: "201".into(),
        },
        What::Unsent {
            artefact: artefact(),
            host: "provider".into(),
            method: "GET",
            path: "/v1/charges".into(),
            why: "GET is not granted".into(),
        },
        What::Changed { artefact: artefact(), act: "rolled_back", version: "1.0.0".into(), before: "831035a0".into() },
        What::Lost { count: 17 },
    ]
    .map(sample)
    .into()
}

#[test]
fn every_audit_event() {
    let mut text = String::new();
    for what in all() {
        let by = match &what {
            What::Key { .. } | What::Busy { .. } | What::Changed { .. } | What::Lost { .. } => By::host(),
            What::Unproven { .. } | What::Throttled { .. } | What::Filtered { .. } => {
                By::request(RequestId(Uuid::from_u128(1)))
            }
            _ => {
                let by = By::request(RequestId(Uuid::from_u128(1))).account(AccountId(Uuid::from_u128(2)));
                By { token: Some(TokenId(Uuid::nil())), ..by }
            }
        };
        let event = Event { id: Uuid::nil(), at: jiff::Timestamp::UNIX_EPOCH, by, what };
        let mut body: serde_json::Value = serde_json::from_str(&event.body()).unwrap();
        assert_eq!(body["kind"], event.what.kind());
        assert_eq!(body["outcome"], event.what.outcome().name());
        // What all have alike would hide what differs.
        let same = body.as_object_mut().unwrap();
        assert_eq!(same.shift_remove("id").unwrap(), Uuid::nil().to_string());
        assert_eq!(same.shift_remove("at").unwrap(), "1970-01-01T00:00:00.000000Z");
        text.push_str(&format!("{body}\n"));
    }
    super::compare("audit.txt", &text);
}
