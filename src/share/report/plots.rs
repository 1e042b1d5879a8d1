//! Plots as inline SVG: a stacked bar with its legend, and one bar for each layer.

use super::{count, size};

/// Points across.
const WIDTH: f64 = 960.0;
/// Points that the bars of a plot rise at most.
const HEIGHT: f64 = 120.0;
/// Points for the numbers at the left.
const LEFT: f64 = 44.0;

/// Colours of parts that stand beside each other: apart for eyes that see few colours, too (Okabe and Ito).
const COLOURS: [&str; 9] =
    ["#0072b2", "#56b4e9", "#cc79a7", "#e69f00", "#d55e00", "#009e73", "#f0e442", "#8a929a", "#555d66"];

/// One layer's bar; `None` where there is nothing to show. The name is safe to be put into HTML.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) value: Option<f64>,
}

/// Parts of a whole as one bar, with their bytes under it.
pub(super) fn stacked(parts: &[(&str, u64)]) -> String {
    let total = parts.iter().map(|(_, bytes)| bytes).sum::<u64>().max(1) as f64;
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} 22\" preserveAspectRatio=\"none\" class=\"stacked\" role=\"img\" aria-label=\"Where the bytes go\">"
    );
    // Their names and sizes stay letters of the page: in a narrow window a drawing gets too small to be read.
    let mut legend = String::from("<ul>");
    let mut x = 0.0;
    for ((name, bytes), colour) in parts.iter().zip(COLOURS.iter().cycle()) {
        let width = WIDTH * *bytes as f64 / total;
        out += &format!(
            "<rect x=\"{x:.2}\" y=\"0\" width=\"{width:.2}\" height=\"22\" fill=\"{colour}\"><title>{name}: {} bytes</title></rect>",
            count(*bytes)
        );
        legend += &format!("<li><i style=\"background:{colour}\"></i>{name} <b>{}</b></li>", size(*bytes));
        x += width;
    }
    format!("{out}</svg>\n{legend}</ul>\n")
}

/// A bar for each layer, from 0 up to a round number.
pub(super) fn bars(layers: &[Bar], unit: &str) -> String {
    let top = round_up(layers.iter().filter_map(|bar| bar.value).fold(0.0, f64::max));
    let mut out = format!("<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\">", HEIGHT + 12.0);
    for share in [0.0, 0.5, 1.0] {
        let y = 6.0 + HEIGHT * (1.0 - share);
        out += &format!(
            "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"currentColor\" stroke-opacity=\".15\"/><text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            y + 4.0,
            top * share
        );
    }
    let step = (WIDTH - LEFT) / layers.len().max(1) as f64;
    for (i, bar) in layers.iter().enumerate() {
        let Some(value) = bar.value else { continue };
        let height = HEIGHT * (value / top).clamp(0.0, 1.0);
        out += &format!(
            "<rect x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{height:.2}\" fill=\"var(--bar)\"><title>{}: {value:.2} {unit}</title></rect>",
            LEFT + i as f64 * step,
            6.0 + HEIGHT - height,
            (step * 0.86).max(0.5),
            bar.name
        );
    }
    out + "</svg>\n"
}

/// The next of 1, 2, 4, 5 or 8 times a power of ten.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|&top| top >= value * (1.0 - 1e-12)).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_on_a_round_number() {
        let tops = [0.0, 0.7, 1.0, 3.1, 4.5, 6.0, 16.0, 100.0].map(round_up);
        assert_eq!(tops, [1.0, 0.8, 1.0, 4.0, 5.0, 8.0, 20.0, 100.0]);
    }

    #[test]
    fn a_layer_without_a_value_has_no_bar() {
        let bar = |value| Bar { name: "w".into(), value };
        let drawn = bars(&[bar(Some(4.0)), bar(None), bar(Some(2.0))], "bits");
        assert_eq!(drawn.matches("<title>").count(), 2);
        assert!(drawn.contains("w: 4.00 bits"));
        assert_eq!(stacked(&[("values", 30), ("scales", 10)]).matches("<title>").count(), 2);
    }
}
