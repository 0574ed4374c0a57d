//! The report, as Markdown: ratios first, then what they are made of.

use std::fmt::Write as _;

use crate::{
    measure::{Plan, Result},
    scenario::Measure,
};

/// Two tables and the circumstances.
pub(crate) fn write(results: &[Result], plan: Plan) -> String {
    let mut text = String::from("# The host against native handlers\n\n");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let _ = writeln!(
        text,
        "{cores} cores for server, load and PostgreSQL together; {} rounds of {} ms a side, 16 connections.\n",
        plan.rounds, plan.slice_ms
    );
    text.push_str("| host against | measure | median ratio | middle half | land | aim | |\n");
    text.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
    for result in results {
        for landing in &result.landings {
            let ratio = result.ratio(landing.against, landing.measure);
            let (measure, sign) = match landing.measure {
                Measure::Cpu => ("CPU", "≤"),
                Measure::Throughput => ("throughput", "≥"),
            };
            let verdict =
                match (landing.reaches(ratio.median, landing.aim), landing.reaches(ratio.median, landing.land)) {
                    (true, _) => "aim reached",
                    (false, true) => "landed",
                    (false, false) => "missed",
                };
            let _ = writeln!(
                text,
                "| {}: {} | {measure} | **{:.2}** | {:.2}–{:.2} | {sign} {} | {sign} {} | {verdict} |",
                result.title,
                result.sides[landing.against].0,
                ratio.median,
                ratio.low,
                ratio.high,
                landing.land,
                landing.aim
            );
        }
    }
    text.push_str("\n| side | CPU µs/request | requests/s | p50 µs | p99 µs | page faults/request |\n");
    text.push_str("| --- | --- | --- | --- | --- | --- |\n");
    for result in results {
        for (at, (side, _)) in result.sides.iter().enumerate() {
            let _ = writeln!(
                text,
                "| {}: {side} | {:.1} | {:.0} | {:.0} | {:.0} | {:.3} |",
                result.title,
                result.median(at, |slice| slice.cpu_us),
                result.median(at, |slice| slice.per_s),
                result.median(at, |slice| slice.p50_us),
                result.median(at, |slice| slice.p99_us),
                result.median(at, |slice| slice.faults),
            );
        }
    }
    text
}
