//! Rank is shown by weight before size, and a digit never changes its width.
//!
//! The constructors here return rich text for labels and buttons; [`galley`] and [`paint_text`]
//! serve painters of plots and custom widgets. Colours follow the theme by themselves: values are
//! text 1 (`strong`), labels text 2 (the default), hints text 3 (`weak`).

use std::sync::Arc;

use egui::{
    Align, Align2, Color32, Context, FontFamily, FontId, Galley, Painter, Pos2, Rect, RichText,
    epaint::text::VariationCoords,
    text::{LayoutJob, TextFormat},
};

use super::{Tokens, size, weight};

/// Rich text of a given size in points and weight on the `wght` axis.
pub fn rich(text: impl Into<String>, size: f32, weight: f32) -> RichText {
    RichText::new(text).size(size).variation("wght", weight)
}

/// A value in a table or list: 12 points, medium, text 1.
pub fn value(text: impl Into<String>) -> RichText {
    rich(text, size::BODY, weight::VALUE).strong()
}

/// A label beside a value: 11.5 points, regular, text 2.
pub fn label(text: impl Into<String>) -> RichText {
    rich(text, size::LABEL, weight::TEXT)
}

/// A hint: 11 points, regular, text 3. Only on the grounds of panels, header and jobs bar.
pub fn hint(text: impl Into<String>) -> RichText {
    rich(text, size::HINT, weight::TEXT).weak()
}

/// A placeholder inside a field: 12 points, regular, text 2, because text 3 fades on a field's ground.
pub fn placeholder(text: impl Into<String>, tokens: &Tokens) -> RichText {
    rich(text, size::BODY, weight::TEXT).color(tokens.text2)
}

/// A tick or unit: 10.5 points, regular, text 3.
pub fn tick(text: impl Into<String>) -> RichText {
    rich(text, size::TICK, weight::TEXT).weak()
}

/// A section title: 13 points, semibold, text 1.
pub fn title(text: impl Into<String>) -> RichText {
    rich(text, size::SECTION, weight::TITLE).strong()
}

/// The name of the selected layer: 17 points, semibold, text 1.
pub fn name(text: impl Into<String>) -> RichText {
    rich(text, size::LAYER, weight::TITLE).strong()
}

/// A number in running text: 12 points, regular, text 1.
pub fn number(text: impl Into<String>) -> RichText {
    rich(text, size::BODY, weight::TEXT).strong()
}

/// The value over a slider: 20 points, semibold, text 1.
pub fn dial(text: impl Into<String>) -> RichText {
    rich(text, size::DIAL, weight::TITLE).strong()
}

/// A headline figure such as fidelity: 28 points, semibold, text 1.
pub fn headline(text: impl Into<String>) -> RichText {
    rich(text, size::HEADLINE, weight::TITLE).strong()
}

/// The total: 38 points, semibold, text 1.
pub fn total(text: impl Into<String>) -> RichText {
    rich(text, size::TOTAL, weight::TITLE).strong()
}

/// A recipe or pattern: 12 points, fixed width, text 2.
pub fn mono(text: impl Into<String>) -> RichText {
    RichText::new(text).size(size::BODY).family(FontFamily::Monospace)
}

/// The format of painted text of a given size (points), weight and colour.
pub fn text_format(size: f32, weight: f32, colour: Color32) -> TextFormat {
    TextFormat {
        font_id: FontId::proportional(size),
        color: colour,
        coords: VariationCoords::new([("wght", weight)]),
        valign: Align::BOTTOM,
        ..TextFormat::default()
    }
}

/// One line of text laid out for painting, never wrapped.
pub fn galley(ctx: &Context, text: impl Into<String>, size: f32, weight: f32, colour: Color32) -> Arc<Galley> {
    let mut job = LayoutJob::single_section(text.into(), text_format(size, weight, colour));
    job.wrap.max_width = f32::INFINITY;
    job.break_on_newline = false;
    ctx.fonts_mut(|fonts| fonts.layout_job(job))
}

/// Paint one line of text anchored at `position` and return the rectangle it covers.
pub fn paint_text(
    painter: &Painter,
    position: Pos2,
    anchor: Align2,
    text: impl Into<String>,
    size: f32,
    weight: f32,
    colour: Color32,
) -> Rect {
    let galley = galley(painter.ctx(), text, size, weight, colour);
    let rect = anchor.anchor_size(position, galley.size());
    painter.galley(rect.min, galley, colour);
    rect
}
