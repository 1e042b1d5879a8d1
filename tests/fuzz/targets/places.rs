//! What must hold of any table of tensors: they lie in the file or behind its end, and any part of one is a part of the whole.

use spokeshave::formats::{Entry, Source, Table};

/// Bytes that are read of one tensor.
const MOST: u64 = 1 << 16;

/// Holds the tensors of a table to that, and gives them.
pub fn check(mut source: Source, table: Table) -> Vec<Entry> {
    let (len, end) = (source.len(), table.annex.end());
    source.attach(table.annex);
    for tensor in &table.tensors {
        let (start, stop) = (tensor.range.start, tensor.range.end);
        assert!(start <= stop && (stop <= len || (len <= start && stop <= end)));
        let bits = tensor.shape.iter().fold(1_u64, |n, &d| n * d as u64) * tensor.dtype.bits();
        assert_eq!(bits, 8 * (stop - start));
        let (mut scratch, mut part) = (Vec::new(), Vec::new());
        let n = (stop - start).min(MOST);
        let whole = source.read(start..start + n, &mut scratch).expect("its bytes are there");
        for (from, to) in [(0, 0), (n / 3, n / 2), (n / 2, n)] {
            let read = source.read(start + from..start + to, &mut part).expect("its bytes are there");
            assert!(read == &whole[from as usize..to as usize]);
        }
    }
    for note in &table.notes {
        assert!(!note.chars().any(char::is_control) && note.len() < 1500);
    }
    table.tensors
}
