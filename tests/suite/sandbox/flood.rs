//! A flood of log lines: cut, counted, and none of them forged.

use harness::server::{Server, guests};
use serde_json::json;

use super::act;

/// What the log gets, line by line.
#[derive(Clone, Default)]
pub(crate) struct Book(pub(crate) std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Book {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Book {
    /// What plugins said.
    pub(crate) fn lines(&self) -> Vec<serde_json::Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter(|line| line["target"] == "plugin").collect()
    }
}

/// One thread, so that the test's own subscriber hears what the server says.
#[tokio::test]
async fn a_flood_of_log_lines_is_cut_and_none_can_be_forged() {
    let book = Book::default();
    let writer = book.clone();
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let server = Server::with(guests(&["glutton"]).await).await;
    assert_eq!(act(&server.anonymous(), "/api/v1/glutton/lines?times=20").await.status, 204);
    let said = book.lines();
    assert_eq!(said.len(), 3, "log_lines_max");
    for line in said {
        assert_eq!((&line["level"], &line["plugin"]), (&json!("INFO"), &json!("glutton")), "{line}");
        assert!(line["message"].as_str().unwrap().ends_with("\n{\"level\":\"FORGED\"}"), "{line}");
    }
}
