//! One configuration as one HTML page: figures, plots, every layer, the recipe; nothing in it is fetched and nothing runs.

mod plots;
mod style;

use super::{Told, command::command};
use crate::estimate::size::Sizes;
use crate::formats::error::printable;
use crate::kernels::error::ErrorSums;
use crate::recipe::file;
use plots::{Bar, bars, stacked};
use style::STYLE;

/// Text as HTML: nothing in a name can become a tag, and what turns or hides characters is spelled out.
fn text(words: &str) -> String {
    printable(words).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Several lines of text as HTML, each made safe by itself.
fn lines(words: &str) -> String {
    words.lines().map(text).collect::<Vec<_>>().join("\n")
}

/// A count with thin spaces between its thousands.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut scaled = bytes as f64;
    let mut unit = 0;
    while scaled >= 1024.0 && unit + 1 < units.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{scaled:.2} {}", units[unit]) }
}

/// The page.
#[must_use]
pub fn html(told: Told<'_>) -> String {
    let Told { model, estimate, .. } = told;
    let title = text(&format!("{}, {} — Spokeshave", model.name, estimate.target.name()));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head>\n<body><main>\n\
         <h1>{}</h1>\n",
        text(&model.name)
    );
    out += &figures(told);
    out += &format!("<h2>Where the bytes go</h2>\n{}", stacked(&parts(&estimate.sizes, estimate.overhead_bytes)));
    out += &plots_of(told);
    out += &table(told);
    let recipe = file::print(&told.recipe.settled(model, told.plan));
    out += &format!("<h2>The recipe</h2>\n<pre>{}</pre>\n", lines(&recipe));
    if let Ok(words) = command(model, told.recipe, told.plan) {
        out += &format!("<h2>The same by command</h2>\n<pre>{}</pre>\n", lines(&words));
    }
    out += &format!("<footer>Spokeshave {}</footer>\n</main></body></html>\n", env!("CARGO_PKG_VERSION"));
    out
}

fn figures(Told { model, estimate: e, .. }: Told<'_>) -> String {
    let mut out = String::from("<dl>");
    let mut figure = |name: &str, value: String, note: String| {
        out += &format!("<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>\n");
    };
    let bytes = e.bytes.unwrap_or_default();
    figure("Source", size(e.source_bytes), format!("{}, {} weights", model.format.name(), count(model.parameters())));
    let times = e.times().map_or_else(String::new, |times| format!("{times}, "));
    figure("Stored", size(bytes), format!("{times}{}, {} bytes", e.target.name(), count(bytes)));
    let bound = |bytes: Option<u64>| bytes.map_or_else(|| "–".to_owned(), size);
    figure("Sparse bound", bound(e.sparse_bytes), "zeros skipped".into());
    figure("Entropy bound", bound(e.entropy_bytes), "codes by their frequencies".into());
    let bits = e.bits_per_weight.map_or_else(|| "–".to_owned(), |bits| format!("{bits:.3}"));
    figure("Bits per weight", bits, "all of the file".into());
    let fidelity = e.fidelity.map_or_else(|| "–".to_owned(), |f| format!("{f:.2} %"));
    figure("Fidelity", fidelity, format!("{}, {}; a proxy, not accuracy", e.fidelity_form.name(), e.label.name()));
    out + "</dl>\n"
}

/// What names are ordered by so that block 2 comes before block 10: stretches of letters, and of digits by their length first.
fn by_number(name: &str) -> Vec<(usize, &[u8])> {
    let stretches = name.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
    let key = |stretch: &'_ [u8]| if stretch[0].is_ascii_digit() { stretch.len() } else { 0 };
    stretches.map(|stretch| (key(stretch), stretch)).collect()
}

/// The parts of the file.
fn parts(sizes: &Sizes, overhead: Option<u64>) -> Vec<(&'static str, u64)> {
    let all = sizes.parts().into_iter().chain([("header", overhead.unwrap_or_default())]);
    all.filter(|(_, bytes)| *bytes > 0).collect()
}

fn plots_of(Told { model, plan, estimate, .. }: Told<'_>) -> String {
    let mut layers: Vec<usize> = (0..model.tensors.len()).filter(|&i| model.tensors[i].shape.len() > 1).collect();
    // Neighbours in the network are neighbours in the picture.
    layers.sort_by_key(|&i| by_number(&model.tensors[i].name));
    let of = |value: &dyn Fn(usize) -> Option<f64>| -> Vec<Bar> {
        layers.iter().map(|&i| Bar { name: text(&model.tensors[i].name), value: value(i) }).collect()
    };
    let bits = of(&|i| {
        let elements = plan.outcome(model, i).elements().max(1) as f64;
        Some(8.0 * estimate.tensors[i].bytes() as f64 / elements)
    });
    let sqnr = of(&|i| estimate.tensors[i].errors.as_ref().and_then(ErrorSums::sqnr_db));
    let zeros = of(&|i| {
        let e = &estimate.tensors[i];
        e.errors.as_ref().map(|s| 100.0 * s.zeros as f64 / e.elements.max(1) as f64)
    });
    format!(
        "<h2>Bits per weight, layer by layer</h2>\n{}<h2>SQNR in dB, layer by layer</h2>\n\
         <p>Where there is no bar, nothing is lost.</p>\n{}<h2>Zeros in %, layer by layer</h2>\n{}",
        bars(&bits, "bits"),
        bars(&sqnr, "dB"),
        bars(&zeros, "%")
    )
}

fn table(Told { model, plan, estimate, .. }: Told<'_>) -> String {
    let mut out = String::from(
        "<h2>Every tensor</h2>\n<div class=\"wide\"><table><thead><tr><th>tensor</th><th>shape</th><th>scheme</th><th>bytes</th>\
         <th>zeros</th><th>t²</th><th>SQNR dB</th><th>kind</th></tr></thead><tbody>\n",
    );
    for (i, (tensor, e)) in model.tensors.iter().zip(&estimate.tensors).enumerate() {
        let shape: Vec<String> = plan.outcome(model, i).shape.iter().map(ToString::to_string).collect();
        let asked = plan.assignments[i].scheme.to_string();
        let scheme = if asked == e.stored_as { asked } else { format!("{asked} → {}", e.stored_as) };
        let share = |zeros: u64| format!("{:.1} %", 100.0 * zeros as f64 / e.elements.max(1) as f64);
        let errors = e.errors.as_ref();
        out += &format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            text(&tensor.name),
            shape.join(" × "),
            text(&scheme),
            count(e.bytes()),
            errors.map(|s| share(s.zeros)).unwrap_or_default(),
            e.t2().map(|t2| if t2 == 0.0 { "0".into() } else { format!("{t2:.3e}") }).unwrap_or_default(),
            errors.and_then(ErrorSums::sqnr_db).map(|db| format!("{db:.2}")).unwrap_or_default(),
            e.label.name()
        );
    }
    out + "</tbody></table></div>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_becomes_a_tag() {
        assert_eq!(text("<script>\"&\u{202e}"), "&lt;script&gt;&quot;&amp;\\u{202e}");
        assert_eq!(lines("a <b>\nc"), "a &lt;b&gt;\nc");
    }

    #[test]
    fn block_2_comes_before_block_10() {
        let ordered = ["blk.0.q", "blk.2.k", "blk.2.q", "blk.10.k", "output", "output.weight"];
        let mut names = ordered;
        names.sort_unstable();
        assert_ne!(names, ordered);
        names.sort_by_key(|name| by_number(name));
        assert_eq!(names, ordered);
    }

    #[test]
    fn numbers_are_grouped_and_scaled() {
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(12), "12");
        assert_eq!([size(1023), size(1536)], ["1023 B", "1.50 KiB"]);
    }
}
