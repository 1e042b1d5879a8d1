//! Residual blocks of convolutions, as torchvision names them: what lies inside a block is a chain of its own.

use super::{Alone, Builder, Dimension, Kind, Law, Member, sections};

const FIXED: &str = "the program that config.json names builds these widths itself";

/// Finds every `…layerN.M.conv1`, `conv2`, `conv3` with their batch norms.
pub(super) fn find(builder: &mut Builder<'_>) {
    let tensors = builder.tensors;
    let mut blocks = Vec::new();
    for tensor in tensors {
        let Some(block) = tensor.name.strip_suffix(".conv1.weight").filter(|block| is_block(block)) else { continue };
        blocks.push(block);
    }
    if blocks.is_empty() {
        return;
    }
    blocks.iter().for_each(|block| inside(builder, block));
    for (index, tensor) in tensors.iter().enumerate().filter(|(_, t)| t.shape.len() >= 2) {
        let module = tensor.name.strip_suffix(".weight").unwrap_or_default();
        let last = module.rsplit('.').next().unwrap_or_default();
        let in_block = blocks.iter().any(|block| module.strip_prefix(block).is_some_and(|rest| rest.starts_with('.')));
        let (rows, cols) = match last {
            "conv1" if !in_block => (Alone::Residual, Alone::Input),
            "fc" => (Alone::Output, Alone::Residual),
            _ if in_block => (Alone::Residual, Alone::Residual),
            _ => continue,
        };
        builder.set_alone(index, 0, rows);
        builder.set_alone(index, 1, cols);
    }
}

/// `layer3.0`, whatever stands before it.
fn is_block(module: &str) -> bool {
    let mut parts = module.rsplit('.');
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    parts.next().is_some_and(digits) && parts.next().and_then(|p| p.strip_prefix("layer")).is_some_and(digits)
}

/// The dimensions between the convolutions of one block.
fn inside(builder: &mut Builder<'_>, block: &str) {
    let of = |n: usize| builder.weight(&format!("{block}.conv{n}"));
    let convs: Vec<usize> = (1..).map_while(of).collect();
    let law = match builder.config {
        Some(config) if config.names_an_architecture() => Law::Never(FIXED),
        _ => Law::Free,
    };
    for (n, pair) in convs.windows(2).enumerate() {
        let &[conv, next] = pair else { continue };
        let units = builder.shape(conv)[0];
        let mut members = vec![Member::new(conv, 0, sections(1)), Member::new(next, 1, sections(1))];
        let at = format!("{block}.conv{}.bias", n + 1);
        members.extend(builder.vector(&at, units).map(|bias| Member::new(bias, 0, sections(1))));
        members.extend(norm_members(builder, &format!("{block}.bn{}", n + 1), units));
        builder.share(Dimension { kind: Kind::Hidden, units, members, law: law.clone(), frozen: false });
    }
}

/// The entries of a norm: weight and bias, and running statistics, which need not become 0.
pub(super) fn norm_members(builder: &Builder<'_>, module: &str, units: usize) -> Vec<Member> {
    let parts = ["weight", "bias", "running_mean", "running_var"];
    let found = |part: &str| {
        let tensor = builder.vector(&format!("{module}.{part}"), units)?;
        Some(Member { zeroed: !part.starts_with("running"), ..Member::new(tensor, 0, sections(1)) })
    };
    parts.iter().filter_map(|part| found(part)).collect()
}
