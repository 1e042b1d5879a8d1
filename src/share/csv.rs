//! One line per tensor, for a spreadsheet or a script (RFC 4180): what `estimate --json` says, without its nesting.

use super::Told;
use crate::kernels::error::ErrorSums;

/// The head of the table.
const HEAD: &str = "name,scheme,stored_as,label,shape,parameters,source_bytes,bytes,sparse_bytes,entropy_bytes,zeros,t2,sqnr_db,cosine";

/// The table.
#[must_use]
pub fn csv(told: Told<'_>) -> String {
    let Told { model, plan, estimate, .. } = told;
    let mut out = format!("{HEAD}\r\n");
    for (i, (tensor, e)) in model.tensors.iter().zip(&estimate.tensors).enumerate() {
        let errors = e.errors.as_ref();
        let shape: Vec<String> = plan.outcome(model, i).shape.iter().map(ToString::to_string).collect();
        let whole = |number: Option<u64>| number.map(|n| n.to_string()).unwrap_or_default();
        let real = |number: Option<f64>| number.filter(|n| n.is_finite()).map(|n| n.to_string()).unwrap_or_default();
        let fields = [
            field(&tensor.name),
            field(&plan.assignments[i].scheme.to_string()),
            field(&e.stored_as),
            e.label.name().to_owned(),
            shape.join("x"),
            tensor.elements().to_string(),
            tensor.bytes().to_string(),
            e.bytes().to_string(),
            whole(e.sparse_bytes),
            whole(e.entropy_bytes),
            whole(errors.map(|s| s.zeros)),
            real(e.t2()),
            real(errors.and_then(ErrorSums::sqnr_db)),
            real(errors.and_then(ErrorSums::cosine)),
        ];
        out += &format!("{}\r\n", fields.join(","));
    }
    out
}

/// A text as a field: between quotes where it must be. A text that a spreadsheet would take for a formula gets a quote before it:
/// names are a stranger's, and a formula can reach out of its table.
fn field(text: &str) -> String {
    let text = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        assert_eq!(field("fc1.weight"), "fc1.weight");
        assert_eq!(field("a,b"), "\"a,b\"");
        assert_eq!(field("say \"x\""), "\"say \"\"x\"\"\"");
        assert_eq!(field("=cmd()"), "'=cmd()");
    }
}
