//! The toolkit's own buttons, fields, menus and scroll bars are dressed here to match the rest.
//!
//! Flat grounds, radius 4, no shadows; the accent marks focus and nothing else.

use std::sync::Arc;

use egui::{
    Context, CornerRadius, CursorIcon, FontData, FontDefinitions, FontFamily, FontId, Margin, Shadow, Stroke, Style,
    TextStyle, Theme, Vec2, Visuals,
    epaint::{FontColorTransferFunction, text::FontTweak},
    style::{ScrollFadeStyle, ScrollStyle, Selection, Spacing, WidgetVisuals, Widgets},
};

use super::{DARK, LIGHT, Tokens, mix, size, space, stroke};

const SANS: &str = "Inter Spokeshave";
const MONO: &str = "JetBrains Mono Spokeshave";

static SANS_BYTES: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/fonts/Inter-Spokeshave.ttf"));
static MONO_BYTES: &[u8] =
    include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/fonts/JetBrainsMono-Spokeshave.ttf"));

/// Set fonts, text sizes, spacing and colours of both themes. Call once, before the first frame.
pub fn install(ctx: &Context) {
    ctx.set_fonts(fonts());
    for (theme, tokens) in [(Theme::Dark, &DARK), (Theme::Light, &LIGHT)] {
        ctx.set_style_of(theme, style(tokens));
    }
}

/// The two bundled faces first, then the toolkit's own for characters they lack.
pub(super) fn fonts() -> FontDefinitions {
    let mut fonts = FontDefinitions::default();
    // Fitting outlines to the pixel grid squashes half-point sizes; the drawn shapes read better.
    let tweak = FontTweak { hinting: Some(false), ..FontTweak::default() };
    for (name, bytes) in [(SANS, SANS_BYTES), (MONO, MONO_BYTES)] {
        let data = FontData::from_static(bytes).tweak(tweak.clone());
        fonts.font_data.insert(name.to_owned(), Arc::new(data));
    }
    let sans = fonts.families.entry(FontFamily::Proportional).or_default();
    sans.insert(0, SANS.to_owned());
    let mono = fonts.families.entry(FontFamily::Monospace).or_default();
    mono.insert(0, MONO.to_owned());
    mono.insert(1, SANS.to_owned());
    fonts
}

fn style(tokens: &Tokens) -> Style {
    let mut style = Style {
        text_styles: [
            (TextStyle::Small, FontId::proportional(size::TICK)),
            (TextStyle::Body, FontId::proportional(size::BODY)),
            (TextStyle::Button, FontId::proportional(size::BODY)),
            (TextStyle::Heading, FontId::proportional(size::LAYER)),
            (TextStyle::Monospace, FontId::monospace(size::BODY)),
        ]
        .into(),
        spacing: spacing(),
        visuals: visuals(tokens),
        animation_time: 0.1,
        ..Style::default()
    };
    // Dragging across a dense panel should move handles, not mark words.
    style.interaction.selectable_labels = false;
    style.interaction.tooltip_delay = 0.4;
    style
}

fn spacing() -> Spacing {
    Spacing {
        item_spacing: Vec2::new(8.0, 4.0),
        window_margin: Margin::same(12),
        menu_margin: Margin::same(4),
        button_padding: Vec2::new(8.0, 4.0),
        interact_size: Vec2::new(24.0, space::FIELD),
        slider_rail_height: 4.0,
        combo_width: 116.0,
        icon_width: 14.0,
        icon_width_inner: 8.0,
        icon_spacing: 6.0,
        tooltip_width: 320.0,
        scroll: scroll(),
        ..Spacing::default()
    }
}

/// A thin bar that is always there, and a wider one under the pointer.
fn scroll() -> ScrollStyle {
    ScrollStyle {
        floating: true,
        bar_width: 8.0,
        handle_min_length: 24.0,
        bar_inner_margin: 0.0,
        bar_outer_margin: 1.0,
        floating_width: 4.0,
        floating_allocated_width: 6.0,
        foreground_color: false,
        dormant_background_opacity: 0.0,
        active_background_opacity: 0.0,
        interact_background_opacity: 0.0,
        dormant_handle_opacity: 1.0,
        active_handle_opacity: 1.0,
        interact_handle_opacity: 1.0,
        fade: ScrollFadeStyle { strength: 0.0, ..ScrollFadeStyle::default() },
        ..ScrollStyle::default()
    }
}

fn visuals(t: &Tokens) -> Visuals {
    let base = if t.dark { Visuals::dark() } else { Visuals::light() };
    let corner = CornerRadius::same(space::RADIUS);
    let mut visuals = Visuals {
        weak_text_color: Some(t.text3),
        widgets: widgets(t),
        selection: Selection {
            // The ink on it is the accent too, so the light ground can take only a little.
            bg_fill: mix(t.bg1, t.accent, if t.dark { 0.22 } else { 0.10 }),
            stroke: Stroke::new(stroke::FRONTIER, t.accent),
        },
        hyperlink_color: t.accent,
        faint_bg_color: t.bg0,
        extreme_bg_color: t.bg2,
        text_edit_bg_color: Some(t.bg2),
        code_bg_color: t.bg2,
        warn_fg_color: t.warn,
        error_fg_color: t.bad,
        window_corner_radius: corner,
        window_shadow: Shadow::NONE,
        window_fill: t.bg1,
        // Without a shadow a popup needs a firmer edge than a panel has.
        window_stroke: Stroke::new(stroke::HAIRLINE, mix(t.line, t.text3, 0.4)),
        window_highlight_topmost: false,
        menu_corner_radius: corner,
        panel_fill: t.bg1,
        popup_shadow: Shadow::NONE,
        indent_has_left_vline: false,
        slider_trailing_fill: true,
        handle_shape: egui::style::HandleShape::Circle,
        interact_cursor: Some(CursorIcon::PointingHand),
        ..base
    };
    // The toolkit fattens light text on dark; half of that keeps small text clear and light.
    visuals.text_options.color_transfer_function =
        if t.dark { FontColorTransferFunction::Gamma(0.85) } else { FontColorTransferFunction::Off };
    visuals.text_cursor.stroke = Stroke::new(stroke::HANDLE, t.accent);
    visuals
}

fn widgets(t: &Tokens) -> Widgets {
    let plain = WidgetVisuals {
        bg_fill: t.bg3,
        weak_bg_fill: t.bg2,
        bg_stroke: Stroke::NONE,
        corner_radius: CornerRadius::same(space::RADIUS),
        fg_stroke: Stroke::new(stroke::HAIRLINE, t.text1),
        expansion: 0.0,
    };
    let firm = mix(t.bg3, t.text3, 0.35);
    Widgets {
        noninteractive: WidgetVisuals {
            bg_fill: t.bg1,
            weak_bg_fill: t.bg1,
            bg_stroke: Stroke::new(stroke::HAIRLINE, t.line),
            fg_stroke: Stroke::new(stroke::HAIRLINE, t.text2),
            ..plain
        },
        inactive: plain,
        hovered: WidgetVisuals { bg_fill: firm, weak_bg_fill: t.bg3, ..plain },
        // The toolkit shows keyboard focus as the active state: hence the ring.
        active: WidgetVisuals {
            bg_fill: firm,
            weak_bg_fill: t.bg3,
            bg_stroke: Stroke::new(stroke::FRONTIER, t.accent),
            ..plain
        },
        open: WidgetVisuals { weak_bg_fill: t.bg3, ..plain },
    }
}

/// A filled button in the accent colour, for the one primary action of a window.
pub fn primary_button(text: impl Into<String>, t: &Tokens) -> egui::Button<'static> {
    let text = super::rich(text, size::BODY, super::weight::TITLE).color(t.on_accent);
    egui::Button::new(text).fill(t.accent)
}

#[cfg(test)]
mod tests {
    use egui::{
        Color32,
        epaint::{TextOptions, text::Fonts},
        text::LayoutJob,
    };

    use super::*;
    use crate::app::theme::{contrast, text_format};

    fn width(fonts: &mut Fonts, text: &str, size: f32, weight: f32) -> f32 {
        let format = text_format(size, weight, Color32::WHITE);
        let job = LayoutJob::single_section(text.to_owned(), format);
        fonts.with_pixels_per_point(1.0).layout_job(job).size().x
    }

    #[test]
    fn ten_digits_have_one_width_at_every_weight() {
        let mut fonts = Fonts::new(TextOptions::default(), super::fonts());
        for weight in [400.0, 500.0, 550.0, 600.0, 700.0] {
            for size in [size::TICK, size::BODY, size::DIAL, size::TOTAL] {
                let zero = width(&mut fonts, "0000000000", size, weight);
                for digit in 1..10 {
                    let text = digit.to_string().repeat(10);
                    let other = width(&mut fonts, &text, size, weight);
                    assert!((other - zero).abs() < 0.01, "{digit} at {weight}: {other} {zero}");
                }
            }
        }
    }

    #[test]
    fn selected_text_stays_legible() {
        for t in [&DARK, &LIGHT] {
            let visuals = visuals(t);
            let selection = visuals.selection;
            assert!(contrast(selection.stroke.color, selection.bg_fill) >= 4.4, "dark {}", t.dark);
        }
    }

    #[test]
    fn the_weight_axis_is_live() {
        let mut fonts = Fonts::new(TextOptions::default(), super::fonts());
        let thin = width(&mut fonts, "Where the bytes went", 13.0, 400.0);
        let bold = width(&mut fonts, "Where the bytes went", 13.0, 600.0);
        assert!(bold > thin + 2.0, "{thin} {bold}");
    }

    #[test]
    fn both_faces_have_the_signs_the_window_writes() {
        let mut fonts = Fonts::new(TextOptions::default(), super::fonts());
        let signs = "−–×…±·→≤≥√Σ²³µ°‘’“”•▲éÅßœŁžΔσПриве";
        for family in [FontFamily::Proportional, FontFamily::Monospace] {
            let id = FontId::new(12.0, family);
            let mut view = fonts.with_pixels_per_point(1.0);
            for sign in signs.chars() {
                assert!(view.has_glyph(&id, sign), "{sign} in {:?}", id.family);
            }
        }
    }
}
