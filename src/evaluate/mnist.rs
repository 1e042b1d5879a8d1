//! Ten thousand handwritten digits, carried inside the program, so that one accuracy on screen
//! is always a measurement and never a guess.
//!
//! The asset is MNIST's test set (see `assets/NOTICE.md`), gzipped. Unpacked it is the magic
//! `SPKDIG01`, three little-endian u32 (images, rows, columns), every pixel row by row as u8,
//! then one u8 label per image. Pixels stay bytes in memory, 7.8 MB instead of 31 MB, and
//! become floats one batch at a time.

use std::io::Read;
use std::ops::Range;
use std::sync::OnceLock;

use flate2::read::GzDecoder;
use ndarray::Array2;
use thiserror::Error;

/// Rows, and columns, of one image.
pub const SIDE: usize = 28;
/// Pixels of one image.
pub const PIXELS: usize = SIDE * SIDE;
/// Kinds of digit; labels are 0..10.
pub const CLASSES: usize = 10;

const MAGIC: &[u8] = b"SPKDIG01";
const HEADER: usize = MAGIC.len() + 3 * 4;

/// Why bytes are no test set.
#[derive(Debug, Error)]
pub enum TestSetError {
    /// The gzip stream cannot be unpacked.
    #[error("the test set cannot be unpacked: {0}")]
    Unpack(#[from] std::io::Error),
    /// The magic or the image size is not ours.
    #[error("the test set does not begin with the header of {SIDE}x{SIDE} digits")]
    Header,
    /// Pixels and labels do not add up to whole images.
    #[error("the test set has {pixels} pixels and {labels} labels, {PIXELS} pixels per label needed")]
    Length {
        /// Pixels found.
        pixels: usize,
        /// Labels found.
        labels: usize,
    },
    /// A label is no digit.
    #[error("the label {label} of image {index} is not a digit")]
    Label {
        /// Which image, from 0.
        index: usize,
        /// The label found.
        label: u8,
    },
}

/// Labelled images of 28x28 pixels; white ink (255) on black (0).
#[derive(Debug, Clone)]
pub struct TestSet {
    /// [n, 784], row by row.
    pixels: Vec<u8>,
    /// [n], each 0..10.
    labels: Vec<u8>,
}

impl TestSet {
    /// A test set of `pixels` `[n, 784]` and `labels` `[n]`, each 0..10.
    pub fn new(pixels: Vec<u8>, labels: Vec<u8>) -> Result<Self, TestSetError> {
        if labels.len().checked_mul(PIXELS) != Some(pixels.len()) {
            let (pixels, labels) = (pixels.len(), labels.len());
            return Err(TestSetError::Length { pixels, labels });
        }
        match labels.iter().position(|&label| usize::from(label) >= CLASSES) {
            Some(index) => Err(TestSetError::Label { index, label: labels[index] }),
            None => Ok(Self { pixels, labels }),
        }
    }

    /// Unpacks the gzipped layout described at the top of this module.
    pub fn unpack(gzipped: &[u8]) -> Result<Self, TestSetError> {
        let mut bytes = Vec::new();
        GzDecoder::new(gzipped).read_to_end(&mut bytes)?;
        let header = bytes.get(..HEADER).ok_or(TestSetError::Header)?;
        let (magic, sizes) = header.split_at(MAGIC.len());
        let mut sizes =
            sizes.chunks_exact(4).map(|size| u32::from_le_bytes([size[0], size[1], size[2], size[3]]) as usize);
        let count = sizes.next().unwrap_or(0);
        if magic != MAGIC || !sizes.eq([SIDE, SIDE]) {
            return Err(TestSetError::Header);
        }
        let mut pixels = bytes.split_off(HEADER);
        let cut = count.checked_mul(PIXELS).map_or(pixels.len(), |all| all.min(pixels.len()));
        let labels = pixels.split_off(cut);
        if labels.len() != count {
            let (pixels, labels) = (pixels.len(), labels.len());
            return Err(TestSetError::Length { pixels, labels });
        }
        Self::new(pixels, labels)
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The right answers `[n]`, each 0..10.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The 28x28 pixels of image `index`, row by row, 0 (black) to 255 (white).
    ///
    /// # Panics
    /// If there is no such image.
    pub fn image(&self, index: usize) -> &[u8] {
        &self.pixels[index * PIXELS..][..PIXELS]
    }

    /// A run of images as a network takes them: [n, 784], each pixel divided by 255.
    ///
    /// # Panics
    /// If the range reaches past the last image.
    pub fn batch(&self, range: Range<usize>) -> Array2<f32> {
        self.pick(range)
    }

    /// Images by number, in the order given: [n, 784], each pixel divided by 255.
    ///
    /// # Panics
    /// If there is no image of some number.
    pub fn select(&self, numbers: &[usize]) -> Array2<f32> {
        self.pick(numbers.iter().copied())
    }

    fn pick(&self, numbers: impl ExactSizeIterator<Item = usize>) -> Array2<f32> {
        let mut images = Array2::zeros((numbers.len(), PIXELS));
        for (mut row, number) in images.rows_mut().into_iter().zip(numbers) {
            for (x, &pixel) in row.iter_mut().zip(self.image(number)) {
                *x = f32::from(pixel) / 255.0;
            }
        }
        images
    }
}

/// MNIST's 10,000 test images, unpacked on first use (some tens of milliseconds; later calls
/// are free). The order is the original one.
pub fn test_set() -> &'static TestSet {
    static SET: OnceLock<TestSet> = OnceLock::new();
    SET.get_or_init(|| {
        // The bytes are part of the program and a test below reads them, so damage here would be
        // a broken build, not something a user could mend.
        TestSet::unpack(include_bytes!("../../assets/mnist-test.bin.gz")).expect("the embedded test set is whole")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn gzipped(plain: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(plain).unwrap();
        packer.finish().unwrap()
    }

    fn plain(count: u32, side: u32, body: usize) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        [count, side, side].iter().for_each(|size| bytes.extend(size.to_le_bytes()));
        bytes.extend(vec![7; body]);
        bytes
    }

    #[test]
    fn the_embedded_set_is_mnist() {
        let set = test_set();
        assert_eq!(set.len(), 10_000);
        assert_eq!(set.labels()[..8], [7, 2, 1, 0, 4, 1, 4, 9]);
        let mut counts = [0; CLASSES];
        set.labels().iter().for_each(|&label| counts[usize::from(label)] += 1);
        assert_eq!(counts, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
        assert_eq!(set.image(9_999).len(), PIXELS);
    }

    #[test]
    fn batches_are_scaled_pixels() {
        let mut pixels = vec![0; 3 * PIXELS];
        pixels[PIXELS + 5] = 255;
        pixels[2 * PIXELS] = 51;
        let set = TestSet::new(pixels, vec![1, 2, 3]).unwrap();
        let batch = set.batch(1..3);
        assert_eq!(batch.dim(), (2, PIXELS));
        assert_eq!((batch[[0, 5]], batch[[1, 0]], batch[[1, 1]]), (1.0, 0.2, 0.0));
        assert_eq!(set.select(&[2, 1]).row(1), batch.row(0));
    }

    #[test]
    fn damage_is_told_apart() {
        let unpack = |plain: &[u8]| TestSet::unpack(&gzipped(plain));
        assert_eq!(unpack(&plain(2, 28, 2 * PIXELS + 2)).unwrap().len(), 2);
        assert!(matches!(unpack(b"SPKDIG01"), Err(TestSetError::Header)));
        assert!(matches!(unpack(&plain(2, 27, 1500)), Err(TestSetError::Header)));
        for body in [0, 2 * PIXELS, 2 * PIXELS + 1, 2 * PIXELS + 3] {
            let result = unpack(&plain(2, 28, body));
            assert!(matches!(result, Err(TestSetError::Length { .. })), "{body}");
        }
        assert!(matches!(unpack(&plain(u32::MAX, 28, 9)), Err(TestSetError::Length { .. })));
        assert!(matches!(TestSet::unpack(b"not gzip at all"), Err(TestSetError::Unpack(_))));
        let wrong = TestSet::new(vec![0; PIXELS], vec![10]);
        assert!(matches!(wrong, Err(TestSetError::Label { index: 0, label: 10 })));
    }
}
