//! One picture: for each scenario and side, every slice's CPU per request as a dot, and their median as a bar.

use std::fmt::Write as _;

use crate::measure::Result;

const LEFT: f64 = 330.0;
const WIDTH: f64 = 560.0;
const ROW: f64 = 26.0;
const HEAD: f64 = 34.0;

/// An SVG document. Each scenario has a scale of its own: the greatest slice of it is the full width.
pub(crate) fn draw(results: &[Result]) -> String {
    let rows: usize = results.iter().map(|result| result.sides.len()).sum();
    let height = HEAD + ROW * rows as f64 + HEAD * results.len() as f64;
    let width = LEFT + WIDTH + 90.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"12\" y=\"22\" font-weight=\"bold\">Server CPU per request, µs: median and every slice</text>\n"
    );
    let mut y = HEAD;
    for result in results {
        let _ = writeln!(
            svg,
            "<text x=\"12\" y=\"{}\" font-weight=\"bold\" fill=\"#444\">{}</text>",
            y + 22.0,
            result.title
        );
        y += HEAD;
        let slices = result.sides.iter().flat_map(|(_, slices)| slices);
        let greatest = slices.map(|slice| slice.cpu_us).fold(1e-9, f64::max);
        for (at, (side, slices)) in result.sides.iter().enumerate() {
            let median = result.median(at, |slice| slice.cpu_us);
            let (bar, colour) = (median / greatest * WIDTH, if at == 0 { "#c96f2e" } else { "#8fa3b8" });
            let middle = y + ROW / 2.0 - 4.0;
            let _ = writeln!(svg, "<text x=\"24\" y=\"{}\">{side}</text>", middle + 4.0);
            let _ = writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{}\" width=\"{bar:.1}\" height=\"16\" fill=\"{colour}\"/>",
                middle - 8.0
            );
            for slice in slices {
                let x = LEFT + slice.cpu_us / greatest * WIDTH;
                let _ =
                    writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{middle}\" r=\"2\" fill=\"#222\" fill-opacity=\"0.5\"/>");
            }
            let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\">{median:.1}</text>", LEFT + WIDTH + 12.0, middle + 4.0);
            y += ROW;
        }
    }
    svg.push_str("</svg>\n");
    svg
}
