//! Colours are mixed where the eye is even, in OKLab, and looked up where the frame is short.
//!
//! A ramp is blended once into 256 entries; drawing code only indexes the table.

use egui::Color32;

/// Entries of a ramp table.
pub const ENTRIES: usize = 256;

/// A colour ramp as a ready table.
#[derive(Clone, Debug, PartialEq)]
pub struct Ramp {
    table: Box<[Color32; ENTRIES]>,
}

impl Ramp {
    /// Blend evenly spaced stops into a table. An empty slice gives a transparent ramp.
    pub fn new(stops: &[Color32]) -> Self {
        let mut table = Box::new([Color32::TRANSPARENT; ENTRIES]);
        let spans = stops.len().saturating_sub(1);
        for (index, entry) in table.iter_mut().enumerate() {
            let along = index as f32 / (ENTRIES - 1) as f32 * spans as f32;
            let span = (along as usize).min(spans.saturating_sub(1));
            *entry = match (stops.get(span), stops.get(span + 1)) {
                (Some(&low), Some(&high)) => mix(low, high, along - span as f32),
                (Some(&only), None) => only,
                (None, _) => Color32::TRANSPARENT,
            };
        }
        Self { table }
    }

    /// The colour at `t` from 0 to 1; values outside are clamped and not-a-number counts as 0.
    pub fn at(&self, t: f32) -> Color32 {
        // `as` saturates and sends NaN to 0, which is just what is wanted here.
        let index = (t * (ENTRIES - 1) as f32).round() as usize;
        self.table[index.min(ENTRIES - 1)]
    }

    /// The colour at `t` from −1 to 1, zero being the middle of the ramp.
    pub fn at_signed(&self, t: f32) -> Color32 {
        self.at(t * 0.5 + 0.5)
    }

    /// All entries, from low to high.
    pub fn table(&self) -> &[Color32; ENTRIES] {
        &self.table
    }
}

/// Blend two opaque colours in OKLab: `t` = 0 gives `a`, `t` = 1 gives `b`.
pub fn mix(a: Color32, b: Color32, t: f32) -> Color32 {
    let (from, to) = (oklab(a), oklab(b));
    let mut lab = [0.0; 3];
    for (out, (x, y)) in lab.iter_mut().zip(from.into_iter().zip(to)) {
        *out = x + (y - x) * t;
    }
    from_oklab(lab)
}

/// Relative luminance of an opaque colour, 0 to 1, as contrast ratios need it.
pub(super) fn luminance(colour: Color32) -> f32 {
    let [r, g, b] = linear(colour);
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

fn linear(colour: Color32) -> [f32; 3] {
    [colour.r(), colour.g(), colour.b()].map(|channel| {
        let v = f32::from(channel) / 255.0;
        if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
    })
}

fn from_linear(rgb: [f32; 3]) -> Color32 {
    let [r, g, b] = rgb.map(|v| {
        let v = v.clamp(0.0, 1.0);
        let encoded = if v <= 0.003_130_8 { v * 12.92 } else { 1.055 * v.powf(1.0 / 2.4) - 0.055 };
        (encoded * 255.0).round() as u8
    });
    Color32::from_rgb(r, g, b)
}

// The constants below are those of the OKLab definition (Björn Ottosson, 2020).

fn oklab(colour: Color32) -> [f32; 3] {
    let [r, g, b] = linear(colour);
    let long = (0.412_221_46 * r + 0.536_332_55 * g + 0.051_445_995 * b).cbrt();
    let medium = (0.211_903_5 * r + 0.680_699_5 * g + 0.107_396_96 * b).cbrt();
    let short = (0.088_302_46 * r + 0.281_718_85 * g + 0.629_978_7 * b).cbrt();
    [
        0.210_454_26 * long + 0.793_617_8 * medium - 0.004_072_047 * short,
        1.977_998_5 * long - 2.428_592_2 * medium + 0.450_593_7 * short,
        0.025_904_037 * long + 0.782_771_77 * medium - 0.808_675_77 * short,
    ]
}

fn from_oklab([l, a, b]: [f32; 3]) -> Color32 {
    let long = (l + 0.396_337_78 * a + 0.215_803_76 * b).powi(3);
    let medium = (l - 0.105_561_346 * a - 0.063_854_17 * b).powi(3);
    let short = (l - 0.089_484_18 * a - 1.291_485_5 * b).powi(3);
    from_linear([
        4.076_741_7 * long - 3.307_711_6 * medium + 0.230_969_94 * short,
        -1.268_438 * long + 2.609_757_4 * medium - 0.341_319_38 * short,
        -0.004_196_086 * long - 0.703_418_6 * medium + 1.707_614_7 * short,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixing_is_exact_at_both_ends_and_grey_in_the_middle_of_greys() {
        let (a, b) = (Color32::from_rgb(51, 80, 143), Color32::from_rgb(245, 200, 76));
        assert_eq!(mix(a, b, 0.0), a);
        assert_eq!(mix(a, b, 1.0), b);
        let grey = mix(Color32::BLACK, Color32::WHITE, 0.5);
        assert_eq!(grey.r(), grey.g());
        assert_eq!(grey.g(), grey.b());
    }

    #[test]
    fn ramp_hits_its_stops_and_clamps() {
        let stops = [Color32::RED, Color32::GREEN, Color32::BLUE];
        let ramp = Ramp::new(&stops);
        assert_eq!(ramp.at(0.0), stops[0]);
        assert_eq!(ramp.at(1.0), stops[2]);
        assert_eq!(ramp.at(-3.0), stops[0]);
        assert_eq!(ramp.at(7.0), stops[2]);
        assert_eq!(ramp.at(f32::NAN), stops[0]);
        assert_eq!(ramp.at_signed(-1.0), stops[0]);
        assert_eq!(Ramp::new(&[]).at(0.5), Color32::TRANSPARENT);
        assert_eq!(Ramp::new(&stops[..1]).at(0.5), stops[0]);
    }
}
