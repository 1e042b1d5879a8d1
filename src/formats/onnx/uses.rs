//! What operators use their inputs for, of those in whose inputs biases, codes and scales stand: of ONNX itself (docs/Operators.md),
//! and of `com.microsoft`, in whose words onnxruntime writes quantized models (docs/ContribOperators.md).

use crate::formats::Use;

/// Inputs of a node that are looked at.
pub(super) const INPUTS: usize = 14;

/// Whether an operator takes its inputs element by element: a vector there is a bias, a factor or a slope, however many dimensions
/// of one element it is given beside its own.
pub(super) fn is_elementwise(op: &str) -> bool {
    matches!(op, "Add" | "Sub" | "Mul" | "Div" | "PRelu")
}

/// Whether an operator hands its first input on as it is, but for its dtype, its shape or the order of its dimensions: what its output
/// is used for is what the input is used for.
pub(super) fn hands_on(op: &str) -> bool {
    matches!(op, "Cast" | "Identity" | "Squeeze" | "Unsqueeze" | "Reshape" | "Flatten" | "Transpose")
}

/// What an operator uses its input at a position for; `None` where that is for others to tell.
pub(super) fn of(op: &str, position: usize) -> Option<Use> {
    let (codes, sides, biases): (&[usize], &[usize], &[usize]) = match op {
        "Conv" | "ConvTranspose" | "Gemm" => (&[], &[], &[2]),
        "LSTM" => (&[], &[], &[3, 5, 6, 7]),
        "GRU" | "RNN" => (&[], &[], &[3, 5]),
        "MoE" => (&[], &[], &[3, 5, 7]),
        "QuantizeLinear" => (&[], &[1, 2], &[]),
        "DequantizeLinear" => (&[0], &[1, 2], &[]),
        "QLinearConv" => (&[3], &[1, 2, 4, 5, 6, 7], &[8]),
        "QLinearMatMul" => (&[0, 3], &[1, 2, 4, 5, 6, 7], &[]),
        "MatMulInteger" | "ConvInteger" => (&[0, 1], &[2, 3], &[]),
        "MatMulIntegerToFloat" => (&[0, 1], &[2, 3, 4, 5], &[6]),
        "DynamicQuantizeMatMul" => (&[1], &[2, 3], &[4]),
        "DynamicQuantizeLSTM" => (&[1, 2], &[8, 9, 10, 11], &[3]),
        "QGemm" => (&[0, 3], &[1, 2, 4, 5, 7, 8], &[6]),
        "QAttention" => (&[1], &[3, 4, 6, 7], &[2]),
        "QMoE" => (&[2, 5, 8], &[3, 6, 9, 11, 12, 13], &[4, 7, 10]),
        "MatMulNBits" => (&[1], &[2, 3], &[5]),
        "MatMulBnb4" => (&[1], &[2], &[]),
        "GatherBlockQuantized" => (&[0], &[2, 3], &[]),
        _ => return None,
    };
    match () {
        () if codes.contains(&position) => Some(Use::Codes),
        () if sides.contains(&position) => Some(Use::Side),
        () => biases.contains(&position).then_some(Use::Bias),
    }
}
