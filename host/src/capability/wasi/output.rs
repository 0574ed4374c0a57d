//! What a guest prints: lines of the plugin's log, on its standard output as `info`, on its standard error as `warn`.
//! A line is cut like any other message, and after `log_lines_max` lines of both together the rest goes nowhere; the guest
//! is not told.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use crate::{
    capability::log,
    id::{PluginId, RequestId},
};

/// Bytes a guest may hand over at once.
const WRITE_BYTES_MAX: usize = 4_096;

/// Whose lines they are, and how many more may come.
#[derive(Debug)]
pub(super) struct Lines {
    plugin: PluginId,
    request: RequestId,
    left: AtomicU32,
}

impl Lines {
    pub(super) fn new(plugin: PluginId, request: RequestId, lines_max: u32) -> Arc<Self> {
        Arc::new(Self { plugin, request, left: lines_max.into() })
    }

    fn write(&self, stream: &'static str, line: &[u8]) {
        let is_left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if is_left {
            let level = if stream == "stderr" { "warn" } else { "info" };
            let fields = serde_json::json!({ "stream": stream });
            log::line((&self.plugin, self.request), level, &fields, &String::from_utf8_lossy(line));
        }
    }
}

/// One of the two ways out.
#[derive(Clone, Debug)]
pub(super) struct Output {
    stream: &'static str,
    lines: Arc<Lines>,
    /// The line so far, no longer than is ever logged.
    line: Vec<u8>,
}

impl Output {
    pub(super) fn new(stream: &'static str, lines: &Arc<Lines>) -> Self {
        Self { stream, lines: Arc::clone(lines), line: Vec::new() }
    }

    fn end_line(&mut self) {
        let line = mem::take(&mut self.line);
        self.lines.write(self.stream, &line);
    }
}

impl Drop for Output {
    /// What stands in a line that nobody ended.
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    /// WASI 0.2 has streams of its own; nothing is written here.
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Self::new(self.stream, &self.lines))
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_whole) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            let room = log::TEXT_BYTES_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(text.get(..room.min(text.len())).unwrap_or_default());
            if is_whole {
                self.end_line();
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}
