//! Numbers and tables for people: aligned columns, grouped digits, binary units, a real minus, and names made safe to print.

use crate::formats::error::printable_up_to;
use rayon::prelude::*;
use std::fmt::{Display, Formatter};

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
    let parts: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    printable_up_to(&parts.join(" "), LONGEST)
}

/// Columns of text under headings, two spaces apart. A heading that begins with `<` is aligned left, all others right.
///
/// Rows are made twice, once to measure and once to print, by all threads and some at a time: a million of them need no
/// more memory than a few.
pub struct Table<'a, F> {
    headings: &'a [&'a str],
    len: usize,
    row: F,
}

/// Rows that are held at a time.
const BATCH: usize = 8192;

impl<'a, F: Fn(usize) -> Vec<String> + Sync> Table<'a, F> {
    /// A table of `len` rows. Cells are printed as they are: names go through [`printable`](crate::formats::error::printable) first.
    pub fn new(headings: &'a [&'a str], len: usize, row: F) -> Self {
        Self { headings, len, row }
    }

    fn first(&self) -> Vec<String> {
        self.headings.iter().map(|heading| heading.trim_start_matches('<').to_owned()).collect()
    }

    fn widths(&self) -> Vec<usize> {
        let of_row = |cells: Vec<String>| cells.iter().map(|cell| cell.chars().count()).collect::<Vec<_>>();
        let wider = |a: Vec<usize>, b: Vec<usize>| a.iter().zip(b).map(|(&a, b)| a.max(b)).collect();
        let none = || vec![0; self.headings.len()];
        let widths = (0..self.len).into_par_iter().map(|i| of_row((self.row)(i))).reduce(none, wider);
        wider(widths, of_row(self.first()))
    }

    /// One line, without spaces at its end.
    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, width), heading) in cells.iter().zip(widths).zip(self.headings) {
            let pad = width.saturating_sub(cell.chars().count());
            if !line.is_empty() {
                line.push_str("  ");
            }
            let left = heading.starts_with('<');
            line.extend(std::iter::repeat_n(' ', if left { 0 } else { pad }));
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', if left { pad } else { 0 }));
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

impl<F: Fn(usize) -> Vec<String> + Sync> Display for Table<'_, F> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let widths = self.widths();
        f.write_str(&self.line(&self.first(), &widths))?;
        for start in (0..self.len).step_by(BATCH) {
            let rows = start..(start + BATCH).min(self.len);
            let lines: Vec<String> = rows.into_par_iter().map(|i| self.line(&(self.row)(i), &widths)).collect();
            lines.iter().try_for_each(|line| f.write_str(line))?;
        }
        Ok(())
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
        let rows = [["é", "0", ""], ["long", "−1.5", "x"]];
        let row = |i: usize| rows.get(i % 2).map(|row| row.map(str::to_owned).to_vec()).unwrap_or_default();
        let table = |len: usize| Table::new(&["<name", "t²", "<note"], len, row).to_string();
        assert_eq!(table(2), "name    t²  note\né        0\nlong  −1.5  x\n");
        assert_eq!(table(0), "name  t²  note\n");
        assert_eq!(table(2 * BATCH + 1).lines().count(), 2 * BATCH + 2);
    }
}
