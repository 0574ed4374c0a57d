//! Request smuggling, over raw sockets: however a request is framed, what stands in its body is never a request of its own.

use harness::{server::Server, wire::Wire};

/// What every sample hides in its body. It would be answered 404, so a second answer shows it.
const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Refused, and the connection is over.
pub(crate) const REFUSED: [(&str, &str); 36] = [
    ("two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 39\r\n\r\n0\r\n\r\n"),
    ("two lengths in one line", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 39\r\n\r\n0\r\n\r\n"),
    ("the same length twice in one line", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\n0\r\n\r\n"),
    ("a signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\n0\r\n\r\n"),
    ("a negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -4\r\n\r\n"),
    ("a hexadecimal length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x4\r\n\r\n0\r\n\r\n"),
    ("an empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n"),
    ("a length beyond 64 bits", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551620\r\n\r\n0\r\n\r\n"),
    ("a space before the colon", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    ("a space before the length's colon", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 4\r\n\r\n0\r\n\r\n"),
    ("an unknown coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("chunked is not the last", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    ("a second coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    (
        "two codings",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("a vertical tab", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    ("chunks in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a folded line", "POST / HTTP/1.1\r\nHost: a\r\nX: b\r\n Content-Length: 4\r\n\r\n0\r\n\r\n"),
    ("a folded coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    ("a line that begins with a space", "POST / HTTP/1.1\r\n Host: a\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"),
    ("a bare CR in a value", "POST / HTTP/1.1\r\nHost: a\r\nX: b\rContent-Length: 4\r\n\r\n"),
    ("a NUL in a value", "POST / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n"),
    ("a NUL in a name", "POST / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n"),
    ("an empty name", "POST / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
    ("no colon", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length\r\n\r\n"),
    ("a size in words", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzero\r\n\r\n"),
    ("a signed size", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+0\r\n\r\n"),
    ("a prefixed size", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n"),
    (
        "a size beyond 64 bits",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n",
    ),
    ("a size that ends in a bare LF", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\n\r\n"),
    ("an extension with a bare LF", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0;a\nb\r\n\r\n"),
    (
        "a chunk longer than it says",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
    ),
    ("no host", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("two hosts", "POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("another host", "POST http://b/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a version to come", "POST / HTTP/1.2\r\nHost: a\r\n\r\n"),
    ("a space in the target", "POST /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
];

/// Read by the length that HTTP says, answered once, and the connection is over.
pub(crate) const LAST: [(&str, &str); 4] = [
    (
        "a length, then chunks",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunks, then a length",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    ),
    ("chunks alone", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (
        "a length in a trailer",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 9\r\n\r\n",
    ),
];

/// Answers on one connection.
pub(crate) fn answers(bytes: &[u8]) -> usize {
    String::from_utf8_lossy(bytes).matches("HTTP/1.1 ").count()
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_refused_and_ends_its_connection() {
    let server = Server::start().await;
    for (what, sample) in REFUSED {
        let mut wire = Wire::open(server.address).await;
        let _ = wire.send(format!("{sample}{HIDDEN}")).await;
        let all = wire.rest().await;
        let text = String::from_utf8_lossy(&all);
        assert!(answers(&all) <= 1, "{what}: {text}");
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{what}: {text}");
    }
}

#[tokio::test]
async fn a_chunked_request_is_the_last_of_its_connection() {
    let server = Server::start().await;
    for (what, sample) in LAST {
        let mut wire = Wire::open(server.address).await;
        let _ = wire.send(format!("{sample}{HIDDEN}")).await;
        let all = wire.rest().await;
        let text = String::from_utf8_lossy(&all).to_lowercase();
        assert_eq!(answers(&all), 1, "{what}: {text}");
        assert!(text.contains("connection: close"), "{what}: {text}");
    }
}

#[tokio::test]
async fn a_body_is_never_a_request() {
    let server = Server::start().await;
    let length = HIDDEN.len();
    for (what, sample) in [
        (
            "a GET with a body",
            format!("GET /api/v1/restaurants HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"),
        ),
        ("a HEAD with a body", format!("HEAD /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")),
        (
            "one that is refused before its body",
            format!("POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"),
        ),
        (
            "the same length twice",
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nContent-Length: {length}\r\n\r\n"),
        ),
        (
            "an upgrade that is not taken",
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: {length}\r\n\r\n"
            ),
        ),
        ("lines that end in LF", format!("POST / HTTP/1.1\nHost: a\nContent-Length: {length}\n\n")),
    ] {
        let mut wire = Wire::open(server.address).await;
        assert!(wire.send(format!("{sample}{HIDDEN}")).await);
        if what.contains("HEAD") {
            let head = wire.0.readable().await;
            assert!(head.is_ok());
        } else {
            let (status, text) = wire.answer().await;
            assert!((400..500).contains(&status), "{what}: {text}");
        }
        wire.finish().await;
        let more = wire.rest().await;
        assert_eq!(answers(&more), usize::from(what.contains("HEAD")), "{what}: {}", String::from_utf8_lossy(&more));
    }
}
