//! Numbers and tables for people: aligned columns, grouped digits, binary units, a real minus, and names made safe to print.

use crate::formats::error::printable;
use std::fmt::Write;

/// Stands where there is no number.
pub const NONE: &str = "–";

/// A count with its digits in groups of three: 1,066,440.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count of things: "1 tensor", "6 tensors".
pub fn counted(n: usize, thing: &str) -> String {
    format!("{} {thing}{}", count(n as u64), if n == 1 { "" } else { "s" })
}

/// Bytes in the unit that fits, three digits or so: 512 B, 41.4 KiB, 1.02 MiB.
pub fn units(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = if value < 9.995 { 2 } else { 1 };
    format!("{value:.decimals$} {}", UNITS.get(unit).unwrap_or(&""))
}

/// Bytes for a headline: the unit that fits, and exactly.
pub fn size(bytes: u64) -> String {
    if bytes < 1024 { format!("{} bytes", count(bytes)) } else { format!("{} ({} bytes)", units(bytes), count(bytes)) }
}

/// Four significant digits with a real minus: 0.05123, −1.250, 3.100e−7.
pub fn short(value: f64) -> String {
    let magnitude = value.abs();
    let text = match magnitude {
        _ if value.is_nan() => "NaN".to_owned(),
        _ if value.is_infinite() => if value > 0.0 { "∞" } else { "-∞" }.to_owned(),
        _ if magnitude == 0.0 => "0".to_owned(),
        _ if (1e-4..1e6).contains(&magnitude) => {
            let above = magnitude.log10().floor() as i32;
            format!("{value:.*}", usize::try_from(3 - above).unwrap_or(0))
        }
        _ => format!("{value:.3e}"),
    };
    text.replace('-', "−")
}

/// [`short`], or a dash when there is no number.
pub fn maybe(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), short)
}

/// A number with this many decimals and a real minus, or a dash.
pub fn decimals(value: Option<f64>, places: usize) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| format!("{value:.places$}").replace('-', "−"))
}

/// A part of a whole in percent with one decimal; a dash when there is no whole.
pub fn share(part: u64, whole: u64) -> String {
    decimals((whole > 0).then(|| 100.0 * part as f64 / whole as f64), 1)
}

/// How many times smaller: 24.5×.
pub fn ratio(before: u64, after: u64) -> String {
    let ratio = (after > 0).then(|| before as f64 / after as f64);
    ratio.map_or_else(|| NONE.to_owned(), |ratio| format!("{ratio:.*}×", if ratio < 9.995 { 2 } else { 1 }))
}

/// Percent close to 100 keep the digits that tell them from it.
pub fn percent(value: f64) -> String {
    let places = if (99.995..100.0).contains(&value) { 4 } else { 2 };
    format!("{value:.places$} %")
}

/// Any text as one line that is safe to print, of bounded length.
pub fn one_line(text: &str) -> String {
    /// Longer than any message that is worth reading.
    const LONGEST: usize = 1500;
    /// What [`printable`] takes whole.
    const PIECE: usize = 160;
    let parts: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let all: Vec<char> = parts.join(" ").chars().collect();
    let shown = all.get(..LONGEST).unwrap_or(&all);
    let mut out: String = shown.chunks(PIECE).map(|piece| printable(&piece.iter().collect::<String>())).collect();
    if shown.len() < all.len() {
        out.push('…');
    }
    out
}

/// Columns of text under headings. A heading that begins with `<` is aligned left, all others right.
pub struct Table {
    rows: Vec<Vec<String>>,
    left: Vec<bool>,
}

impl Table {
    /// An empty table under these headings.
    pub fn new(headings: &[&str]) -> Self {
        let left = headings.iter().map(|heading| heading.starts_with('<')).collect();
        let first = headings.iter().map(|heading| heading.trim_start_matches('<').to_owned()).collect();
        Self { rows: vec![first], left }
    }

    /// Adds a row. Cells are printed as they are: names go through [`printable`] first.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The lines, columns two spaces apart, none with spaces at its end.
    pub fn render(&self) -> String {
        let width_of = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.left.len()).map(width_of).collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, &width), &left) in row.iter().zip(&widths).zip(&self.left) {
                let gap = if line.is_empty() { "" } else { "  " };
                // Writing into a string cannot fail.
                let written =
                    if left { write!(line, "{gap}{cell:<width$}") } else { write!(line, "{gap}{cell:>width$}") };
                debug_assert!(written.is_ok());
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_like_numbers() {
        assert_eq!([0, 999, 1000, 1_066_440].map(count), ["0", "999", "1,000", "1,066,440"]);
        assert_eq!(
            [0, 1023, 1024, 42_360, 1_048_576, u64::MAX].map(units),
            ["0 B", "1023 B", "1.00 KiB", "41.4 KiB", "1.00 MiB", "16384.0 PiB"]
        );
        assert_eq!(size(42_360), "41.4 KiB (42,360 bytes)");
        assert_eq!(
            [0.0, -1.25, 0.051_234, 123_456.0, 3.1e-7, f64::NEG_INFINITY].map(short),
            ["0", "−1.250", "0.05123", "123456", "3.100e−7", "−∞"]
        );
        assert_eq!((ratio(100, 8), ratio(1, 0)), ("12.5×".into(), NONE.into()));
        assert_eq!((share(1, 3), share(0, 0)), ("33.3".into(), NONE.into()));
        assert_eq!([100.0, 99.999_1, 93.4].map(percent), ["100.00 %", "99.9991 %", "93.40 %"]);
        assert_eq!((counted(1, "tensor"), counted(0, "tensor")), ("1 tensor".into(), "0 tensors".into()));
    }

    #[test]
    fn lines_are_single_and_safe() {
        assert_eq!(one_line("a\n   b\r\n\n c\u{7}"), "a b c\\u{7}");
        assert_eq!(one_line(&"ä".repeat(5000)).chars().count(), 1501);
    }

    #[test]
    fn columns_line_up_by_characters_not_bytes() {
        let mut table = Table::new(&["<name", "t²", "<note"]);
        table.row(vec!["é".into(), "0".into(), String::new()]);
        table.row(vec!["long".into(), "−1.5".into(), "x".into()]);
        assert_eq!(table.render(), "name    t²  note\né        0\nlong  −1.5  x\n");
    }
}
