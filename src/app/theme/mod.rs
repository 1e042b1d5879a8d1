//! Every colour, size and stroke of the window lives here, so the rest of the code speaks in roles.
//!
//! Widgets and panels ask [`tokens`] for the table of the theme in use and never write a colour
//! literal. [`install`] teaches the toolkit's own widgets the same look, and [`mod@text`] holds
//! the constructors that give text its size and weight.

mod ramp;
mod style;
pub mod text;

pub use ramp::{Ramp, mix};
pub use style::{install, primary_button};
pub use text::{
    dial, galley, headline, hint, label, mono, name, number, paint_text, placeholder, rich, text_format, tick, title,
    total, value,
};

use std::sync::LazyLock;

use egui::{Color32, Context, Theme};

/// Text sizes in points.
pub mod size {
    /// The stored size, largest number in the window.
    pub const TOTAL: f32 = 38.0;
    /// Fidelity and accuracy.
    pub const HEADLINE: f32 = 28.0;
    /// The compression ratio.
    pub const RATIO: f32 = 22.0;
    /// The value over a slider.
    pub const DIAL: f32 = 20.0;
    /// Name of the selected layer.
    pub const LAYER: f32 = 17.0;
    /// Name of the model in the header.
    pub const MODEL: f32 = 15.0;
    /// Section titles.
    pub const SECTION: f32 = 13.0;
    /// Table cells, fields and buttons.
    pub const BODY: f32 = 12.0;
    /// Labels beside values.
    pub const LABEL: f32 = 11.5;
    /// Hints under or beside things.
    pub const HINT: f32 = 11.0;
    /// Axis ticks and chips of kind.
    pub const TICK: f32 = 10.5;
}

/// Text weights on the font's `wght` axis.
pub mod weight {
    /// Running text.
    pub const TEXT: f32 = 400.0;
    /// Values and chosen things.
    pub const VALUE: f32 = 500.0;
    /// Titles and totals.
    pub const TITLE: f32 = 600.0;
}

/// Distances, heights and radii in points.
pub mod space {
    /// Padding inside a panel.
    pub const PANEL: f32 = 16.0;
    /// Height of a table row without a second line.
    pub const ROW: f32 = 24.0;
    /// Extra height of a table row that states a constraint.
    pub const ROW_NOTE: f32 = 20.0;
    /// Height of fields and buttons.
    pub const FIELD: f32 = 24.0;
    /// Height of chips.
    pub const CHIP: f32 = 20.0;
    /// Height of tabs.
    pub const TAB: f32 = 32.0;
    /// Corner radius of chips, fields and buttons.
    pub const RADIUS: u8 = 4;
}

/// Stroke widths in points and dash patterns as `[dash, gap]`.
pub mod stroke {
    /// Separators and outlines.
    pub const HAIRLINE: f32 = 1.0;
    /// Outline of the weights before compression.
    pub const BEFORE: f32 = 1.25;
    /// Handles drawn on data.
    pub const HANDLE: f32 = 1.5;
    /// The frontier, and the focus ring.
    pub const FRONTIER: f32 = 2.0;
    /// Dashes of clip lines and of the uniform baseline.
    pub const DASH: [f32; 2] = [4.0, 3.0];
    /// Dashes of mean lines.
    pub const DASH_MEAN: [f32; 2] = [3.0, 3.0];
    /// Dashes of reference lines.
    pub const DASH_REFERENCE: [f32; 2] = [2.0, 3.0];
}

/// Opacities of translucent fills, as fractions of one.
pub mod opacity {
    /// The pruned part of a bar, in the bar's own colour.
    pub const PRUNED: f32 = 0.22;
    /// The band between prune handles, in accent.
    pub const PRUNE_BAND: f32 = 0.10;
    /// The zones beyond the clip handles, in text 3.
    pub const CLIP_ZONE: f32 = 0.12;
    /// The column behind a selected bar, in accent.
    pub const SELECTED: f32 = 0.16;
    /// The cap of a bar at rest, in text 1.
    pub const CAP: f32 = 0.55;
    /// Fill under the outline of the weights before compression.
    pub const BEFORE: f32 = 0.20;
    /// Fill of the weights after compression.
    pub const AFTER: f32 = 0.80;
}

/// The colours of one theme, by what they mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Tokens {
    /// Whether the ground is dark.
    pub dark: bool,
    /// Ground of the header and the jobs bar.
    pub bg0: Color32,
    /// Ground of panels and plots.
    pub bg1: Color32,
    /// Fields, hovered rows, chips of kind.
    pub bg2: Color32,
    /// Selected row, chosen segment, slider rail.
    pub bg3: Color32,
    /// Separators and axes.
    pub line: Color32,
    /// Plot grid and lines between row groups.
    pub grid: Color32,
    /// Values.
    pub text1: Color32,
    /// Labels.
    pub text2: Color32,
    /// Hints and ticks; only legible on [`Tokens::bg0`] and [`Tokens::bg1`].
    pub text3: Color32,
    /// Handles, selection, focus, the frontier and the one primary button.
    pub accent: Color32,
    /// Text and marks on top of the accent.
    pub on_accent: Color32,
    /// A constraint, always with a triangle.
    pub warn: Color32,
    /// A failure, always with words.
    pub bad: Color32,
    /// The weights before compression, and the uniform baseline.
    pub before: Color32,
    /// The weights after compression.
    pub after: Color32,
    /// Stops of the error ramp, from small error to large.
    pub error: [Color32; 4],
    /// Stops of the magnitude ramp, from none to most.
    pub magnitude: [Color32; 5],
    /// Stops of the signed ramp: negative, zero, positive.
    pub signed: [Color32; 3],
    /// Bytes of quantized values; also the rounded part of an error.
    pub values: Color32,
    /// Bytes of scales.
    pub scales: Color32,
    /// Bytes of zero-points; also the clipped part of an error.
    pub zero_points: Color32,
    /// Bytes of masks; also the pruned part of an error.
    pub mask: Color32,
    /// Bytes of sparse indices.
    pub indices: Color32,
    /// Bytes of codebooks.
    pub codebook: Color32,
    /// Bytes of factors.
    pub factors: Color32,
    /// Bytes of tensors left as they were.
    pub untouched: Color32,
    /// Bytes of file headers and padding.
    pub header: Color32,
}

impl Tokens {
    /// The nine byte colours in the order stacked bars use: values, scales, zero-points, mask,
    /// indices, codebook, factors, untouched, header.
    pub fn bytes(&self) -> [Color32; 9] {
        [
            self.values,
            self.scales,
            self.zero_points,
            self.mask,
            self.indices,
            self.codebook,
            self.factors,
            self.untouched,
            self.header,
        ]
    }

    /// The colours of the three error parts: pruned, rounded, clipped.
    pub fn error_parts(&self) -> [Color32; 3] {
        [self.mask, self.values, self.zero_points]
    }

    /// The colours of two masks side by side: kept in both, only here, only there, in neither. Blue and orange stay apart
    /// for every eye, and what is kept nowhere recedes.
    pub fn mask_cells(&self) -> [Color32; 4] {
        [self.after, self.signed[2], self.indices, self.header]
    }

    /// The three ramps of this theme, mixed once per run.
    pub fn ramps(&self) -> &'static Ramps {
        if self.dark { &DARK_RAMPS } else { &LIGHT_RAMPS }
    }

    /// The colour of an error given as a signal-to-noise ratio in decibels: 40 dB or more is the
    /// quiet end of the ramp, 10 dB or less the loud end.
    pub fn error_at_db(&self, sqnr_db: f64) -> Color32 {
        let loudness = (40.0 - sqnr_db) / 30.0;
        self.ramps().error.at(loudness as f32)
    }
}

/// Colour ramps of one theme as ready tables.
#[derive(Debug)]
pub struct Ramps {
    /// Small error to large; see [`Tokens::error_at_db`].
    pub error: Ramp,
    /// No magnitude to most.
    pub magnitude: Ramp,
    /// Most negative to most positive, zero in the middle.
    pub signed: Ramp,
}

impl Ramps {
    fn new(tokens: &Tokens) -> Self {
        Self {
            error: Ramp::new(&tokens.error),
            magnitude: Ramp::new(&tokens.magnitude),
            signed: Ramp::new(&tokens.signed),
        }
    }
}

static DARK_RAMPS: LazyLock<Ramps> = LazyLock::new(|| Ramps::new(&DARK));
static LIGHT_RAMPS: LazyLock<Ramps> = LazyLock::new(|| Ramps::new(&LIGHT));

/// A colour from its usual six hexadecimal digits.
const fn hex(rgb: u32) -> Color32 {
    Color32::from_rgb((rgb >> 16) as u8, (rgb >> 8) as u8, rgb as u8)
}

/// The dark theme.
#[expect(clippy::unreadable_literal, reason = "six digits in a row are how a colour is read")]
pub const DARK: Tokens = Tokens {
    dark: true,
    bg0: hex(0x14171B),
    bg1: hex(0x191D22),
    bg2: hex(0x22272E),
    bg3: hex(0x2C333C),
    line: hex(0x2D343C),
    grid: hex(0x252B32),
    text1: hex(0xE8ECF0),
    text2: hex(0xA6B0BB),
    text3: hex(0x808B97),
    accent: hex(0x35C2B0),
    on_accent: hex(0x08211D),
    warn: hex(0xF08A4B),
    bad: hex(0xF0605A),
    before: hex(0x8D98A5),
    after: hex(0x5B9DF5),
    error: [hex(0x33508F), hex(0x6B70A2), hex(0xB58B78), hex(0xF5C84C)],
    magnitude: [hex(0x14203A), hex(0x26456F), hex(0x557089), hex(0xA39F7C), hex(0xF4DC7A)],
    signed: [hex(0x5B9DF5), hex(0x2A2F36), hex(0xF2A154)],
    values: hex(0x5B9DF5),
    scales: hex(0x9CC9F2),
    zero_points: hex(0xBFA6E8),
    mask: hex(0xE6B44C),
    indices: hex(0xD98BB0),
    codebook: hex(0x7CC7A2),
    factors: hex(0xE98A6A),
    untouched: hex(0x6B7682),
    header: hex(0x454E58),
};

/// The light theme.
#[expect(clippy::unreadable_literal, reason = "six digits in a row are how a colour is read")]
pub const LIGHT: Tokens = Tokens {
    dark: false,
    bg0: hex(0xF4F6F7),
    bg1: hex(0xFFFFFF),
    bg2: hex(0xEDF0F2),
    bg3: hex(0xE0E5E9),
    line: hex(0xD8DEE3),
    grid: hex(0xE8ECEF),
    text1: hex(0x171D23),
    text2: hex(0x4D5863),
    text3: hex(0x65707B),
    accent: hex(0x00796B),
    on_accent: hex(0xFFFFFF),
    warn: hex(0xB9500B),
    bad: hex(0xC2302B),
    before: hex(0x8B95A0),
    after: hex(0x2F6FD0),
    error: [hex(0xB3C5EC), hex(0xA79CBC), hex(0xAD7747), hex(0x7A3300)],
    magnitude: [hex(0xF3F1E4), hex(0xC9CBB4), hex(0x8496A6), hex(0x40608F), hex(0x152A57)],
    signed: [hex(0x2F6FD0), hex(0xF4F4F2), hex(0xD9711C)],
    values: hex(0x2F6FD0),
    scales: hex(0x86B3EA),
    zero_points: hex(0x9A7FD1),
    mask: hex(0xD99A1C),
    indices: hex(0xC0608F),
    codebook: hex(0x3E9A72),
    factors: hex(0xC65D3B),
    untouched: hex(0x97A1AB),
    header: hex(0xC9D0D6),
};

/// The tokens of the theme in use. An `egui::Ui` can be passed where a context is wanted.
pub fn tokens(ctx: &Context) -> &'static Tokens {
    tokens_of(ctx.theme())
}

/// The tokens of a given theme.
pub fn tokens_of(theme: Theme) -> &'static Tokens {
    match theme {
        Theme::Dark => &DARK,
        Theme::Light => &LIGHT,
    }
}

/// Contrast ratio of two opaque colours, from 1 (equal) to 21 (black on white).
pub fn contrast(a: Color32, b: Color32) -> f32 {
    let (a, b) = (ramp::luminance(a), ramp::luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// Ink for words on a coloured cell: white or near-black, whichever reads better on `ground`.
pub fn ink_on(ground: Color32) -> Color32 {
    if contrast(Color32::WHITE, ground) >= contrast(DARK.bg0, ground) { Color32::WHITE } else { DARK.bg0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both() -> [&'static Tokens; 2] {
        [&DARK, &LIGHT]
    }

    #[test]
    fn text_meets_the_contrast_it_claims() {
        for t in both() {
            for ground in [t.bg0, t.bg1] {
                // The design says 4.7 to one decimal; the least is 4.66, on the light header.
                assert!(contrast(t.text3, ground) >= 4.65, "text 3, dark {}", t.dark);
            }
            for ground in [t.bg0, t.bg1, t.bg2, t.bg3] {
                assert!(contrast(t.text2, ground) >= 5.7, "text 2, dark {}", t.dark);
                assert!(contrast(t.text1, ground) >= 7.0, "text 1, dark {}", t.dark);
            }
        }
    }

    #[test]
    fn signals_are_legible_on_their_grounds() {
        for t in both() {
            assert!(contrast(t.on_accent, t.accent) >= 4.5, "dark {}", t.dark);
            for ground in [t.bg0, t.bg1] {
                assert!(contrast(t.accent, ground) >= 4.5, "accent, dark {}", t.dark);
                assert!(contrast(t.warn, ground) >= 4.5, "warn, dark {}", t.dark);
                assert!(contrast(t.bad, ground) >= 4.5, "bad, dark {}", t.dark);
            }
            assert!(contrast(t.before, t.bg1) >= 3.0, "before, dark {}", t.dark);
            assert!(contrast(t.after, t.bg1) >= 3.0, "after, dark {}", t.dark);
        }
    }

    #[test]
    fn error_ramp_lightness_is_monotone_and_turns_round_with_the_ground() {
        for t in both() {
            let table = t.ramps().error.table();
            for pair in table.windows(2) {
                let step = ramp::luminance(pair[1]) - ramp::luminance(pair[0]);
                // One 8-bit step of a channel may wobble the last digit.
                if t.dark {
                    assert!(step > -0.002, "dark ramp falls");
                } else {
                    assert!(step < 0.002, "light ramp rises");
                }
            }
            assert_eq!(t.error_at_db(40.0), t.error[0]);
            assert_eq!(t.error_at_db(10.0), t.error[3]);
            assert_eq!(t.error_at_db(f64::INFINITY), t.error[0]);
        }
    }

    #[test]
    fn every_ink_reads_on_every_error_colour() {
        for t in both() {
            for ground in t.ramps().error.table() {
                assert!(contrast(ink_on(*ground), *ground) >= 4.2, "{ground:?}");
            }
        }
    }
}
