//! What operators use their inputs for, of those in whose inputs biases, codes and scales stand: of ONNX itself (docs/Operators.md),
//! and of `com.microsoft`, in whose words onnxruntime writes quantized models (docs/ContribOperators.md).

use crate::formats::Use;

/// Inputs of a node that are looked at.
pub(super) const INPUTS: usize = 12;

/// Whether an operator takes its inputs element by element: a vector there is a bias, a factor or a slope, however many dimensions
/// of one element it is given beside its own.
pub(super) fn is_elementwise(op: &str) -> bool {
    matches!(op, "Add" | "Sub" | "Mul" | "Div" | "PRelu")
}

/// What an operator uses its input at a position for; `None` where that is for others to tell.
pub(super) fn of(op: &str, position: usize) -> Option<Use> {
    let (codes, sides, bias): (&[usize], &[usize], Option<usize>) = match op {
        "Conv" | "ConvTranspose" | "Gemm" => (&[], &[], Some(2)),
        "LSTM" if position >= 5 => return (position <= 7).then_some(Use::Bias),
        "GRU" | "RNN" if position == 5 => return Some(Use::Bias),
        "LSTM" | "GRU" | "RNN" => (&[], &[], Some(3)),
        "QuantizeLinear" => (&[], &[1, 2], None),
        "DequantizeLinear" => (&[0], &[1, 2], None),
        "QLinearConv" => (&[3], &[1, 2, 4, 5, 6, 7], Some(8)),
        "QLinearMatMul" => (&[0, 3], &[1, 2, 4, 5, 6, 7], None),
        "MatMulInteger" | "ConvInteger" => (&[0, 1], &[2, 3], None),
        "MatMulIntegerToFloat" => (&[0, 1], &[2, 3, 4, 5], Some(6)),
        "DynamicQuantizeMatMul" => (&[1], &[2, 3], Some(4)),
        "DynamicQuantizeLSTM" => (&[1, 2], &[8, 9, 10, 11], Some(3)),
        "QGemm" => (&[0, 3], &[1, 2, 4, 5, 7, 8], Some(6)),
        "QAttention" => (&[1], &[3, 4, 6, 7], Some(2)),
        "MatMulNBits" | "MatMulBnb4" => (&[1], &[2, 3], None),
        "GatherBlockQuantized" => (&[0], &[2, 3], None),
        _ => return None,
    };
    match () {
        () if codes.contains(&position) => Some(Use::Codes),
        () if sides.contains(&position) => Some(Use::Side),
        () => (bias == Some(position)).then_some(Use::Bias),
    }
}
