//! Logs and metrics. Logs are JSON lines on standard output, with UTC times; the writer is a bounded queue in a thread of
//! its own, so that a slow sink delays no request: what does not fit is dropped and counted.

use std::{thread, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::error::{Fault, Setup};

/// Upper bounds of the latency histogram's buckets, in seconds.
const BUCKETS_S: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    Json,
    /// For people at a terminal.
    Plain,
}

/// Keeps the log's writer alive; what is queued is written when it is dropped.
#[derive(Debug)]
pub struct Guard {
    _writer: tracing_appender::non_blocking::WorkerGuard,
}

/// Starts logging for the process. `filter` is `info,request=debug`.
pub fn start_log(lines: Lines, filter: &str) -> Setup<Guard> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| Fault::new("log.filter", error.to_string()).fix("write it like `info,request=debug`"))?;
    let (writer, guard) = tracing_appender::non_blocking(std::io::stdout());
    let registry = tracing_subscriber::registry().with(filter);
    let started = match lines {
        Lines::Json => {
            registry.with(tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(writer)).try_init()
        }
        Lines::Plain => {
            registry.with(tracing_subscriber::fmt::layer().compact().with_ansi(false).with_writer(writer)).try_init()
        }
    };
    started.map_err(|error| Fault::new("log", error.to_string()))?;
    Ok(Guard { _writer: guard })
}

/// How often measured times are put into their buckets; until then each is kept by itself.
const UPKEEP: Duration = Duration::from_secs(5);

/// Starts counting for the process; the handle renders Prometheus text.
pub fn start_metrics() -> Setup<PrometheusHandle> {
    let metrics = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full("dinehub_request_seconds".to_owned()), &BUCKETS_S)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(Fault::at("metrics"))?;
    // A host that nobody scrapes would keep every time it ever measured.
    let handle = metrics.clone();
    let upkeep = thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        loop {
            thread::sleep(UPKEEP);
            handle.run_upkeep();
        }
    });
    upkeep.map_err(Fault::at("metrics"))?;
    Ok(metrics)
}
