//! What Deep Compression (Han, Mao and Dally, ICLR 2016) says that a pruned layer with shared weights takes: a formula to hold
//! `packed` against.

/// Bits of a layer of n weights of which a share `density` is kept: k = n·density entries and their fillers, each with a code and a
/// relative index, and a codebook of 2^`code_bits` F32 values.
///
/// With kept weights in no order, the gap before one is geometric, and f = q/(1 − q) fillers stand before it on average,
/// where q = (1 − density)^(2^`index_bits`) is the chance that another 2^`index_bits` weights hold none. The paper's own
/// figures for pruning and quantization alone ("P+Q", tables 2 to 5) come out within a few hundredths of their value.
#[must_use]
pub fn deep_compression_bits(n: f64, density: f64, code_bits: u32, index_bits: u32) -> f64 {
    let q = (1.0 - density).powf(f64::from(1_u32 << index_bits));
    let fillers = q / (1.0 - q);
    n * density * (1.0 + fillers) * f64::from(code_bits + index_bits) + f64::from(32 * (1_u32 << code_bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_column_is_reproduced() {
        // Layer, weights, kept, code and index bits; percent of 32-bit weights by the formula, and as the paper prints it.
        for (layer, n, kept, code, index, wanted, printed) in [
            ("LeNet-5 conv1", 500, 0.66, 8, 5, 78.0, 78.5),
            ("LeNet-5 conv2", 25_000, 0.12, 8, 5, 5.98, 6.0),
            ("LeNet-5 ip1", 400_000, 0.08, 5, 5, 2.69, 2.7),
            ("LeNet-300-100 ip1", 235_200, 0.08, 6, 5, 2.98, 3.1),
            ("LeNet-300-100 ip3", 1_000, 0.26, 6, 5, 15.34, 15.7),
            ("AlexNet conv2", 307_200, 0.38, 8, 4, 14.34, 14.5),
            ("AlexNet fc6", 37_748_736, 0.09, 5, 4, 3.25, 3.0),
        ] {
            let n = f64::from(n);
            let percent = 100.0 * deep_compression_bits(n, kept, code, index) / (32.0 * n);
            assert!((percent - wanted).abs() < 0.06, "{layer}: {percent:.3} %, {wanted} % expected");
            assert!((percent / printed - 1.0).abs() < 0.09, "{layer}: {percent:.3} %, the paper has {printed} %");
        }
    }
}
