//! Documents in the spirit of JSONTestSuite (RFC 8259): what is no JSON is refused as such, what is JSON is never, and
//! nothing at all is answered with a 5xx.

use bytes::Bytes;
use harness::{
    client::{Answer, Client},
    server::{Server, guests},
};

/// No JSON, or JSON that two readers read differently: 400.
fn invalid() -> Vec<Vec<u8>> {
    let texts = [
        "",
        " ",
        "\n",
        "{",
        "}",
        "[",
        "]",
        "[1",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "\"",
        "\"a",
        "[\"a",
        "[\"",
        "t",
        "tru",
        "nul",
        "fals",
        "True",
        "NULL",
        "nan",
        "NaN",
        "Infinity",
        "-Infinity",
        "-",
        "+1",
        "+",
        ".5",
        "1.",
        "1.e1",
        "1e",
        "1e+",
        "1E-",
        "01",
        "-01",
        "00",
        "0x1",
        "0b1",
        "1_000",
        "1,000",
        "--1",
        "-a",
        "1a",
        "0e",
        "2.e3",
        "-.1",
        "1 2",
        "１",
        "[1,]",
        "[,1]",
        "[,]",
        "[1,,2]",
        "[1 2]",
        "[1;2]",
        "{,}",
        "{\"a\":1,}",
        "{,\"a\":1}",
        "{\"a\":1,,\"b\":2}",
        "{\"a\" 1}",
        "{\"a\"=1}",
        "{\"a\":}",
        "{:1}",
        "{a:1}",
        "{'a':1}",
        "{1:1}",
        "{null:1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":\"b\"}x",
        "{\"a\":1}}",
        "{}{}",
        "[]]",
        "[}",
        "{]",
        "[{]}",
        "'a'",
        "\"\\\"",
        "\"\\x41\"",
        "\"\\a\"",
        "\"\\'\"",
        "\"\\0\"",
        "\"\\u\"",
        "\"\\u1\"",
        "\"\\u12\"",
        "\"\\u123\"",
        "\"\\u123g\"",
        "\"\\U0041\"",
        "\"\\u{41}\"",
        "\"\\\"",
        "\"\u{0}\"",
        "\"\u{1}\"",
        "\"\u{1f}\"",
        "\"\n\"",
        "\"\t\"",
        "\"\r\"",
        "\"a\nb\"",
        // lone and swapped halves of surrogate pairs
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\ud800\"",
        "\"\\udc00\\ud800\"",
        "\"\\ud800x\"",
        "\"\\ud83d\\u0041\"",
        "\"\\uDFAA\"",
        "{\"\\ud800\":1}",
        // no comments, no other white space
        "/**/1",
        "1//",
        "[1/*x*/]",
        "#1",
        "\u{a0}1",
        "\u{2028}1",
        "\u{b}1",
        "\u{c}1",
        "[\u{c}]",
        "[\u{2060}1]",
        "\u{feff}{}",
        "\u{feff}1",
        // numbers that no reader keeps alike
        "1e400",
        "-1e400",
        "1e99999999999999999999",
        "[123e65536]",
        "18446744073709551616e400",
        // one name, two values
        "{\"a\":1,\"a\":1}",
        "{\"a\":1,\"\\u0061\":2}",
        "[{\"a\":{\"b\":1,\"b\":2}}]",
        "{\"\":1,\"\":2}",
        "<a/>",
        "a=1&b=2",
        "undefined",
        "null,null",
        "1]",
        "*",
        "{\"a\":1,\"b\"}",
        "[\"a\":1]",
        "{\"a\",1}",
        "{[1]:2}",
    ];
    let mut all: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    all.extend([
        // encodings: UTF-16 and -32 with and without a mark, Latin-1, overlong forms, a surrogate in UTF-8, beyond U+10FFFF
        b"\xff\xfe{\0}\0".to_vec(),
        b"\xfe\xff\0{\0}".to_vec(),
        b"{\0}\0".to_vec(),
        b"\0{\0}".to_vec(),
        b"{\0\0\0}\0\0\0".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        b"\"\xe9\"".to_vec(),
        b"\"\xff\"".to_vec(),
        b"\"\xc0\xaf\"".to_vec(),
        b"\"\xc1\xbf\"".to_vec(),
        b"\"\xe0\x80\xaf\"".to_vec(),
        b"\"\xf0\x80\x80\xaf\"".to_vec(),
        b"\"\xed\xa0\x80\"".to_vec(),
        b"\"\xed\xbf\xbf\"".to_vec(),
        b"\"\xf4\x90\x80\x80\"".to_vec(),
        b"\"\xf8\x88\x80\x80\x80\"".to_vec(),
        b"\"\xe2\x82\"".to_vec(),
        b"\"\x80\"".to_vec(),
        b"\xe9".to_vec(),
        b"[\xff]".to_vec(),
        b"{\"\xb9\":\"0\"}".to_vec(),
        b"{}\0".to_vec(),
        b"\0".to_vec(),
        b"1\xff".to_vec(),
        b"[1]\x00".to_vec(),
        b"\"\x7f\xff\"".to_vec(),
        b"\"\\u00\xe9\"".to_vec(),
    ]);
    let deep =
        |open: &str, close: &str, depth: usize| format!("{}{}", open.repeat(depth), close.repeat(depth)).into_bytes();
    all.extend([
        deep("[", "]", 65),
        deep("[", "]", 100_000),
        "[".repeat(100_000).into_bytes(),
        "[\"".repeat(50_000).into_bytes(),
        "{\"a\":".repeat(40_000).into_bytes(),
        [deep("{\"a\":", "", 65), b"1".to_vec(), "}".repeat(65).into_bytes()].concat(),
        "[{\"\":".repeat(30_000).into_bytes(),
        deep("[", "", 200_000),
    ]);
    let keys: Vec<String> = (0..300).map(|at| format!("\"k{at}\":1")).collect();
    all.push(format!("{{{}}}", keys.join(",")).into_bytes());
    // A long name comes back short.
    let name = "n".repeat(50_000);
    all.push(format!("{{\"{name}\":1,\"{name}\":2}}").into_bytes());
    all
}

/// JSON: read, and then it fits or it does not.
fn valid() -> Vec<Vec<u8>> {
    let texts = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1",
        "-1",
        "9007199254740991",
        "-9007199254740991",
        "9223372036854775807",
        "-9223372036854775808",
        "0.0",
        "-0.0",
        "0e0",
        "0e+1",
        "0E-1",
        "1E22",
        "1e-2",
        "1.5e+3",
        "-123.123e-4",
        "1e308",
        "1e-400",
        "5e-324",
        "1.7976931348623157e308",
        "123456789012345678901234567890",
        "0.1234567890123456789012345678901234567890",
        "-1e-99999",
        "\"\"",
        "\"a\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\\u0041\"",
        "\"\\u0000\"",
        "\"\\ud83c\\udf55\"",
        "\"\\uD834\\uDD1E\"",
        "\"\u{7f}\"",
        "\"\u{80}\"",
        "\"\u{2028}\u{2029}\"",
        "\"\u{feff}\"",
        "\"\u{fffe}\"",
        "\"\u{ffff}\"",
        "\"\u{10ffff}\"",
        "\"\u{e000}\"",
        "\"/*x*/\"",
        "\"\\u002c\"",
        "\"汉字 🍕 é\"",
        "\"\u{202e}x\"",
        "\"\\u202e\"",
        "\"\\uFFFF\"",
        "[]",
        "[ ]",
        "[null]",
        "[1,2]",
        "[[],[]]",
        "[[[]]]",
        " [ 1 , 2 ] ",
        "\t1\r\n",
        "[\n1\n]",
        "[1,null,\"a\",{},[],true]",
        "{}",
        "{ }",
        "{\"\":0}",
        "{\"a\":1}",
        "{\"a\":{\"a\":1}}",
        "{\"a\":[{\"a\":1}]}",
        "{\"a\":null,\"b\":null}",
        "{\"\\u0061\\u0000\":1}",
        "{\"a\":1,\"A\":2}",
        "{\"é\":1,\"e\u{301}\":2}",
        "{\"__proto__\":1}",
        "{\"constructor\":{\"prototype\":{}}}",
        "{\"$ref\":\"#\"}",
    ];
    let mut all: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    all.push(format!("{}{}", "[".repeat(64), "]".repeat(64)).into_bytes());
    all.push(format!("\"{}\"", "a".repeat(200_000)).into_bytes());
    all.push(format!("[{}0]", "0,".repeat(100_000)).into_bytes());
    all.push(format!("{}1{}", " ".repeat(100_000), "\n".repeat(100_000)).into_bytes());
    all.push(format!("[{}[]]", "[],".repeat(60_000)).into_bytes());
    all.push([b"\"".to_vec(), "\\u0041".repeat(30_000).into_bytes(), b"\"".to_vec()].concat());
    all
}

async fn post(client: &Client, route: &str, body: &[u8]) -> Answer {
    let path = format!("/api/v1/echo/{route}");
    client.send("POST", &path, &[("content-type", "application/json")], Bytes::copy_from_slice(body)).await
}

/// One route for each kind of value, so that whatever fits somewhere does.
const ROUTES: [&str; 7] = ["everything", "bool", "s64", "f64", "string", "list", "option"];

fn shown(document: &[u8]) -> String {
    String::from_utf8_lossy(document.get(..60).unwrap_or(document)).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_is_refused_as_such_wherever_it_is_sent() {
    let server = Server::with(guests(&["echo"]).await).await;
    let client = server.anonymous();
    for document in invalid() {
        for route in ROUTES {
            let refused = post(&client, route, &document).await;
            assert_eq!(
                (refused.status, refused.code()),
                (400, "malformed"),
                "{route}: {:?}: {}",
                shown(&document),
                refused.json
            );
            assert!(refused.bytes.len() < 1_000, "a refusal is short: {}", refused.bytes.len());
        }
        // The host's own routes read with the same reader.
        let headers = [("content-type", "application/json")];
        let refused = client.send("POST", "/api/v1/auth/login", &headers, Bytes::from(document.clone())).await;
        assert_eq!(
            (refused.status, refused.code()),
            (400, "malformed"),
            "login: {:?}: {}",
            shown(&document),
            refused.json
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_json_is_read_and_fits_or_does_not() {
    let server = Server::with(guests(&["echo"]).await).await;
    let client = server.anonymous();
    let mut fitted = 0;
    for document in valid() {
        for route in ROUTES {
            let answer = post(&client, route, &document).await;
            let is_read = matches!((answer.status, answer.code()), (200, _) | (422, "invalid"));
            assert!(is_read, "{route}: {:?}: {} {}", shown(&document), answer.status, answer.json);
            fitted += usize::from(answer.status == 200);
        }
        let headers = [("content-type", "application/json")];
        let refused = client.send("POST", "/api/v1/auth/login", &headers, Bytes::from(document.clone())).await;
        assert_eq!(refused.status, 422, "login: {:?}: {}", shown(&document), refused.json);
        assert!(refused.bytes.len() < 4_000, "a refusal is short: {}", refused.bytes.len());
    }
    assert!(fitted > 60, "only {fitted} fitted anywhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_keep_to_what_their_type_says() {
    let server = Server::with(guests(&["echo"]).await).await;
    let client = server.anonymous();
    for (route, document, status) in [
        ("s64", "-0", 200),
        ("s64", "1e3", 200),
        ("s64", "1.0", 200),
        ("s64", "1.5", 422),
        ("s64", "9007199254740992", 422),
        ("s64", "1e19", 422),
        ("u64", "-1", 422),
        ("u8", "256", 422),
        ("f64", "1e-400", 200),
        ("f64", "-0.0", 200),
        ("string", "\"\\u0000\"", 422),
        ("string", "\"a\\u0000b\"", 422),
        ("string", "\"\\u202e\"", 422),
        ("string", "\"\\u2066\"", 422),
        ("string", "\"\\u0007\"", 422),
        ("string", "\"tab\\tand\\nline\"", 200),
        ("string", "\"汉字 🍕 é\"", 200),
        ("bool", "\"true\"", 422),
        ("bool", "1", 422),
        ("list", "{}", 422),
    ] {
        let answer = post(&client, route, document.as_bytes()).await;
        assert_eq!(answer.status, status, "{route}: {document}: {}", answer.json);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_says_what_it_is_and_is_not_packed() {
    let server = Server::with(guests(&["echo"]).await).await;
    let client = server.anonymous();
    let send = async |headers: &[(&str, &str)]| {
        client.send("POST", "/api/v1/echo/bool", headers, Bytes::from_static(b"true")).await
    };
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", "application/json; charset=utf-16")],
        &[("content-type", "application/problem+json")],
        &[("content-type", "application/json"), ("content-encoding", "gzip")],
        &[("content-type", "application/json"), ("content-encoding", "br")],
        &[("content-type", "application/json"), ("content-type", "text/plain")],
    ] {
        send(headers).await.refused(415, "unsupported_media_type");
    }
    let _ = send(&[("content-type", "application/json; charset=UTF-8"), ("content-encoding", "identity")])
        .await
        .expect(200);
}
