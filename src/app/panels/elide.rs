//! Words in the room there is. A sentence loses its end; a name loses its middle, as what tells layers apart is at both ends.

use crate::app::theme::{self, weight};
use egui::{Color32, Galley, Pos2, Ui, vec2};
use std::sync::Arc;

/// Words in the room there is; what is too long ends in an ellipsis.
pub(super) fn paint_elided(ui: &Ui, at: Pos2, width: f32, text: &str, size: f32, colour: Color32) {
    let format = theme::text_format(size, weight::TEXT, colour);
    let mut job = egui::text::LayoutJob::single_section(text.to_owned(), format);
    job.wrap = egui::text::TextWrapping { max_width: width, max_rows: 1, break_anywhere: true, ..Default::default() };
    let galley = ui.fonts_mut(|fonts| fonts.layout_job(job));
    ui.painter().galley(at - vec2(0.0, galley.size().y / 2.0), galley, colour);
}

/// A name in the room there is; of one that is too long the ends stay.
pub(super) fn paint_elided_name(ui: &Ui, at: Pos2, width: f32, name: &str, size: f32, colour: Color32) {
    let galley = name_galley(ui, width, name, size, colour);
    ui.painter().galley(at - vec2(0.0, galley.size().y / 2.0), galley, colour);
}

/// The same, laid out only.
pub(super) fn name_galley(ui: &Ui, width: f32, name: &str, size: f32, colour: Color32) -> Arc<Galley> {
    let lay_out = |text: &str| theme::galley(ui, text, size, weight::TEXT, colour);
    lay_out(&name_within(name, |text| lay_out(text).size().x <= width))
}

/// The longest form of a name that fits: itself, without an ending that most names have, or with an ellipsis in its middle.
fn name_within(name: &str, fits: impl Fn(&str) -> bool) -> String {
    if fits(name) {
        return name.to_owned();
    }
    let name = without_common_ending(name);
    if fits(name) {
        return name.to_owned();
    }
    let letters: Vec<char> = name.chars().collect();
    let of = |kept: usize| {
        // Numbers, and what a layer is for, stand at the end.
        let head = 2 * kept / 5;
        let tail = letters.len() - (kept - head);
        letters[..head].iter().chain(&['…']).chain(&letters[tail..]).collect::<String>()
    };
    // The widths grow with the letters kept.
    let (mut low, mut high) = (0, letters.len().saturating_sub(1));
    while low < high {
        let kept = (low + high).div_ceil(2);
        if fits(&of(kept)) {
            low = kept;
        } else {
            high = kept - 1;
        }
    }
    of(low)
}

/// A name without what it has in common with most others: `.weight`, or what ONNX exporters put after a node's name.
fn without_common_ending(name: &str) -> &str {
    let node = name.trim_end_matches('_');
    [".weight", "_output_0"].iter().find_map(|ending| node.strip_suffix(ending)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_name_both_ends_stay() {
        let within = |name: &str, letters: usize| name_within(name, |text| text.chars().count() <= letters);
        assert_eq!(within("fc1.weight", 10), "fc1.weight");
        assert_eq!(within("output_norm.weight", 12), "output_norm");
        assert_eq!(within("/model.22/Constant_12_output_0", 12), "/mod…tant_12");
        assert_eq!(within("/model.22/Concat_13_output_0___", 12), "/mod…ncat_13");
        assert_eq!(within("post_attention_layernorm", 16), "post_a…layernorm");
        assert_eq!(within("été.été.été", 4), "é…té");
        assert_eq!([within("abc", 1), within("", 0)], ["…", ""]);
    }

    #[test]
    fn no_letter_more_would_fit() {
        for letters in 1..30 {
            let shown = name_within("/model.22/Constant_12_dequantized", |text| text.chars().count() <= letters);
            assert_eq!(shown.chars().count(), letters, "{shown}");
        }
    }
}
