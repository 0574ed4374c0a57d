use super::*;

#[test]
fn an_address_is_masked_and_anything_else_shows_nothing() {
    for (typed, shown) in [
        ("anna@example.org", "a…@example.org"),
        ("a@b@example.org", "a…@example.org"),
        ("correct horse battery staple", "…"),
        ("hunter2@", "…"),
        ("@example.org", "…"),
        ("x@hunter2", "…"),
        ("x@hunter2 .org", "…"),
        ("\u{202e}x@example.org", "…"),
        ("", "…"),
    ] {
        assert_eq!(Masked::new(typed), Masked(shown.to_owned()), "{typed:?}");
    }
}

#[test]
fn no_text_makes_an_event_longer_than_it_may_be_or_two_of_it() {
    let hostile = "\"}\n{\"kind\":\"authentication.passed\"\u{0}\u{1f}é".repeat(1_000);
    let what = What::Unsent {
        artefact: Artefact::new(&hostile, &hostile),
        host: hostile.as_str().into(),
        method: "GET",
        path: hostile.as_str().into(),
        why: hostile.as_str().into(),
    };
    let by = By { token: Some(TokenId(Uuid::nil())), ..By::request(RequestId::fresh()).account(AccountId::fresh()) };
    let body = Event::now(by, what).body();
    assert!(body.len() <= BYTES_MAX && !body.contains('\n'), "{} bytes", body.len());
    let read: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(read["kind"], "egress.refused");
    assert_eq!(read["token"], hex::encode(Sha256::digest([0; 16])));
}
