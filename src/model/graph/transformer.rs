//! Feed-forward blocks and attention, found by the names that transformers give their projections.

use super::{Alone, Builder, Dimension, Kind, Law, Member, Section, sections};
use crate::model::Config;
use crate::model::config::PAIR_WIDTH;
use crate::model::roles::{Role, block_of};

/// Names of a feed-forward block below one module, and the config keys that may say its width.
struct FeedForward {
    /// What writes the hidden units.
    producers: &'static [&'static str],
    /// What reads them.
    consumer: &'static str,
    /// The first that says the width is the one.
    keys: &'static [&'static str],
    /// Whether gate and up lie in one tensor, one after the other.
    fused: bool,
    /// Whether names this plain count only inside a numbered block.
    in_block: bool,
}

const fn block(
    producers: &'static [&'static str],
    consumer: &'static str,
    keys: &'static [&'static str],
) -> FeedForward {
    FeedForward { producers, consumer, keys, fused: false, in_block: false }
}

/// The first that fits is taken.
const FEED_FORWARD: &[FeedForward] = &[
    block(&["gate_proj", "up_proj"], "down_proj", &["intermediate_size"]),
    block(&["up_proj"], "down_proj", &["intermediate_size"]),
    FeedForward { fused: true, ..block(&["gate_up_proj"], "down_proj", &["intermediate_size"]) },
    FeedForward { in_block: true, ..block(&["w1", "w3"], "w2", &["intermediate_size", "hidden_dim"]) },
    // llama.cpp's names, of which `Config::of_pairs` keeps the keys.
    block(&["ffn_gate", "ffn_up"], "ffn_down", &[PAIR_WIDTH]),
    block(&["ffn_up"], "ffn_down", &[PAIR_WIDTH]),
    block(&["intermediate.dense"], "output.dense", &["intermediate_size"]),
    block(&["dense_h_to_4h"], "dense_4h_to_h", &["intermediate_size", "ffn_hidden_size"]),
    block(&["lin1"], "lin2", &["hidden_dim"]),
    block(&["c_fc"], "c_proj", &["n_inner", "intermediate_size"]),
    block(&["wi_0", "wi_1"], "wo", &["d_ff"]),
    block(&["wi"], "wo", &["d_ff"]),
    FeedForward { in_block: true, ..block(&["fc1"], "fc2", &["intermediate_size", "ffn_dim"]) },
    FeedForward { in_block: true, ..block(&["linear1"], "linear2", &["dim_feedforward"]) },
];

/// Names of an attention below one module.
struct Attention {
    query: &'static str,
    key: &'static str,
    value: &'static str,
    output: &'static str,
    /// Norms of queries and keys.
    norms: [&'static str; 2],
}

const fn attention(query: &'static str, key: &'static str, value: &'static str, output: &'static str) -> Attention {
    Attention { query, key, value, output, norms: ["q_norm.weight", "k_norm.weight"] }
}

const ATTENTION: &[Attention] = &[
    attention("q_proj", "k_proj", "v_proj", "o_proj"),
    attention("q_proj", "k_proj", "v_proj", "out_proj"),
    Attention {
        norms: ["attn_q_norm.weight", "attn_k_norm.weight"],
        ..attention("attn_q", "attn_k", "attn_v", "attn_output")
    },
    attention("q_lin", "k_lin", "v_lin", "out_lin"),
    attention("wq", "wk", "wv", "wo"),
    attention("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"),
    attention(
        "attention.attention.query",
        "attention.attention.key",
        "attention.attention.value",
        "attention.output.dense",
    ),
];

/// Families whose configs have, or may be given, a `head_dim` of their own. Not those (Qwen2-MoE, OLMoE,
/// Granite-MoE) of which released programs divide the width by the number of heads, and refuse what is left over.
const OWN_HEAD_DIM: &[&str] = &[
    "llama",
    "mistral",
    "mixtral",
    "ministral",
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "gemma",
    "gemma2",
    "gemma3_text",
    "phi3",
    "olmo",
    "olmo2",
    "granite",
    "smollm3",
    "cohere",
    "cohere2",
    "starcoder2",
    "glm",
    "glm4",
    "nemotron",
    "ernie4_5",
];

/// Families of which transformers (5.24) makes more than one matrix of the number of heads, or of their width: an output that is as wide as
/// the stream, gates, heads in pairs.
const BOUND_HEADS: &[&str] = &["diffllama", "helium", "recurrent_gemma"];
/// Families whose feed-forward blocks are as wide as more than one key makes them.
const BOUND_WIDTH: &[&str] = &["lfm2", "lfm2_moe", "zamba2"];
/// Keys that say how many experts all tokens go to, which are as wide together as so many of the others.
const SHARED_EXPERTS: &[&str] = &["n_shared_experts", "moe_num_shared_experts", "num_shared_experts"];

const BOUND: &str = "this family's config.json has the number for other matrices too";
const NO_HEAD_SIZE: &str = "this family's config.json has no size of a head beside their number";
const NO_WIDTH: &str = "nothing beside the weights says this width for every block";
const NO_HEADS_IN_PAIRS: &str = "llama.cpp is not told the size of a head beside their number for every architecture";

pub(super) fn find(builder: &mut Builder<'_>) {
    let tensors = builder.tensors;
    for (index, tensor) in tensors.iter().enumerate() {
        if let Some(module) = tensor.name.strip_suffix(".weight").filter(|_| tensor.shape.len() == 2) {
            FEED_FORWARD.iter().any(|names| feed_forward(builder, names, module, index));
            ATTENTION.iter().any(|names| split_attention(builder, names, module, index));
            fused_attention(builder, module, index);
        }
        match tensor.role {
            Role::Embedding if tensor.shape.len() == 2 => {
                builder.set_alone(index, 0, Alone::Vocabulary);
                builder.set_alone(index, 1, Alone::Residual);
            }
            _ => {}
        }
    }
    if !builder.graph.dimensions.is_empty() {
        name_the_rest(builder);
    }
}

/// What else a transformer has: its answer, and the stream between blocks.
fn name_the_rest(builder: &mut Builder<'_>) {
    for (index, tensor) in builder.tensors.iter().enumerate().filter(|(_, t)| t.shape.len() == 2) {
        match tensor.role {
            Role::Head => {
                builder.set_alone(index, 0, Alone::Output);
                builder.set_alone(index, 1, Alone::Residual);
            }
            Role::AttentionQ | Role::AttentionK | Role::AttentionV | Role::FfnGate | Role::FfnUp => {
                builder.set_alone(index, 1, Alone::Residual);
            }
            Role::AttentionO | Role::FfnDown => builder.set_alone(index, 0, Alone::Residual),
            _ => {}
        }
    }
}

/// The module around a named part: `a.mlp` of `a.mlp.down_proj`.
fn parent<'a>(module: &'a str, part: &str) -> Option<&'a str> {
    let before = module.strip_suffix(part)?;
    if before.is_empty() { Some("") } else { before.strip_suffix('.') }
}

fn child(parent: &str, part: &str) -> String {
    if parent.is_empty() { part.to_owned() } else { format!("{parent}.{part}") }
}

/// Whether a module keeps its weight as inputs × outputs, as GPT-2's do: its bias tells, or under GPT-2's own name the width of the
/// embedding.
fn is_transposed(builder: &Builder<'_>, module: &str, weight: usize) -> bool {
    let &[rows, cols] = builder.shape(weight) else { return false };
    let by_bias = || builder.vector(&format!("{module}.bias"), cols).is_some();
    let by_width = || module.ends_with("c_fc") && builder.embedding_width == Some(rows);
    let has_bias = builder.find(&format!("{module}.bias")).is_some();
    rows != cols && if has_bias { by_bias() } else { by_width() }
}

/// The rows of a weight and its bias.
fn produced(builder: &Builder<'_>, module: &str, weight: usize, axis: usize, at: &[Section]) -> Option<Vec<Member>> {
    let mut members = vec![Member::new(weight, axis, at.to_vec())];
    if let Some(bias) = builder.find(&format!("{module}.bias")) {
        (builder.shape(bias).first() == builder.shape(weight).get(axis) && builder.shape(bias).len() == 1)
            .then_some(())?;
        members.push(Member::new(bias, 0, at.to_vec()));
    }
    Some(members)
}

fn feed_forward(builder: &mut Builder<'_>, names: &FeedForward, module: &str, down: usize) -> bool {
    let Some(parent) = parent(module, names.consumer) else { return false };
    if names.in_block && block_of(module).is_none() {
        return false;
    }
    let modules: Vec<String> = names.producers.iter().map(|part| child(parent, part)).collect();
    let found: Option<Vec<usize>> = modules.iter().map(|m| builder.weight(m)).collect();
    let Some(found) = found else { return false };
    let Some(dimension) = feed_forward_dimension(builder, names, (module, down), &modules, &found) else { return true };
    let width = dimension.units;
    let residual = found.iter().map(|&up| (up, 1)).chain([(down, 0)]);
    // Something more of this width stands inside, and nobody knows what it does there.
    let member = |index: usize| dimension.members.iter().any(|m| m.tensor == index);
    let strange =
        builder.shape(down) != [width, width] && builder.below(parent).any(|(i, t)| t.shape == [width] && !member(i));
    let transposed = dimension.members.iter().any(|m| m.tensor == down && m.axis == 0);
    if !strange {
        let sides: Vec<(usize, usize)> =
            residual.map(|(t, axis)| (t, if transposed { 1 - axis } else { axis })).collect();
        builder.share(dimension);
        sides.into_iter().for_each(|(t, axis)| builder.set_alone(t, axis, Alone::Residual));
    }
    true
}

fn feed_forward_dimension(
    builder: &Builder<'_>,
    names: &FeedForward,
    (module, down): (&str, usize),
    modules: &[String],
    found: &[usize],
) -> Option<Dimension> {
    let transposed = is_transposed(builder, modules.first()?, *found.first()?);
    let (out, into) = if transposed { (1, 0) } else { (0, 1) };
    let units = builder.shape(down)[into];
    let at = if names.fused {
        vec![Section { start: 0, width: 1 }, Section { start: units, width: 1 }]
    } else {
        sections(1)
    };
    let mut members = Vec::new();
    for (module, &weight) in modules.iter().zip(found) {
        let shape = builder.shape(weight);
        if shape.len() != 2 || shape[out] != units * at.len() || shape[into] != builder.shape(down)[out] {
            return None;
        }
        members.extend(produced(builder, module, weight, out, &at)?);
    }
    members.push(Member::new(down, into, sections(1)));
    let law = width_law(builder.config, names.keys, module, units);
    Some(Dimension { kind: Kind::FeedForward, units, members, law, frozen: false })
}

/// Which key says a width.
fn width_law(config: Option<&Config>, keys: &[&'static str], module: &str, units: usize) -> Law {
    let Some(config) = config else { return Law::Free };
    let shared = || SHARED_EXPERTS.iter().find_map(|key| config.number(key)).is_some_and(|count| count > 1);
    if BOUND_WIDTH.contains(&&*config.family()) || (module.contains("mlp.experts.") && shared()) {
        return Law::Never(BOUND);
    }
    let special: &[&'static str] = match () {
        () if module.contains(".shared_expert.") => &["shared_expert_intermediate_size"],
        () if module.contains(".shared_experts.") => &["moe_intermediate_size"],
        () if module.contains("mlp.experts.") => &["moe_intermediate_size"],
        () if keys.contains(&"ffn_dim") && module.contains("encoder.") => &["encoder_ffn_dim", "intermediate_size"],
        () if keys.contains(&"ffn_dim") && module.contains("decoder.") => &["decoder_ffn_dim", "ffn_dim"],
        () => keys,
    };
    let one = |key: &'static str| Law::Config { per_unit: vec![(key, 1)], fixed: Vec::new() };
    if let Some(key) = special.iter().find(|key| config.number(key) == Some(units)) {
        return one(key);
    }
    // GPT-2 leaves it out where it is four times the stream.
    let implied = special.first() == Some(&"n_inner") && !config.says("n_inner");
    if implied && config.number("n_embd").and_then(|n| n.checked_mul(4)) == Some(units) {
        return one("n_inner");
    }
    if config.names_an_architecture() { Law::Never(NO_WIDTH) } else { Law::Free }
}

/// Heads of queries, heads of keys and values, and what a head has of each.
#[derive(Clone, Copy)]
struct Heads {
    queries: usize,
    groups: usize,
    size: usize,
}

impl Heads {
    /// From the config where it agrees with the shapes, else from the norm of a head's queries.
    fn of(builder: &Builder<'_>, norm: &str, query_rows: usize, key_rows: usize) -> Option<Self> {
        let fits = |heads: &Self| {
            heads.size > 0
                && heads.queries.checked_mul(heads.size) == Some(query_rows)
                && heads.groups.checked_mul(heads.size) == Some(key_rows)
                && heads.groups > 0
                && heads.queries.is_multiple_of(heads.groups)
        };
        let by_config = |config: &Config| {
            let queries =
                ["num_attention_heads", "n_head", "n_heads", "num_heads"].iter().find_map(|k| config.number(k))?;
            let groups = config.number("num_key_value_heads").unwrap_or(queries);
            let size = config.number("head_dim").or_else(|| query_rows.checked_div(queries))?;
            Some(Self { queries, groups, size })
        };
        let by_norm = || {
            let norm = builder.find(norm)?;
            let &[size] = builder.shape(norm) else { return None };
            let count = |rows: usize| rows.checked_div(size);
            (size < query_rows).then_some(Self { queries: count(query_rows)?, groups: count(key_rows)?, size })
        };
        builder.config.and_then(by_config).filter(fits).or_else(by_norm).filter(fits)
    }

    /// Units that can go one by one: groups; queries, where all share one key and value.
    fn units(self) -> usize {
        if self.groups == 1 { self.queries } else { self.groups }
    }

    /// Indices of a unit among the queries.
    fn query_width(self) -> usize {
        self.queries / self.units() * self.size
    }

    fn law(self, config: Option<&Config>) -> Law {
        let Some(config) = config else { return Law::Free };
        if config.is_of_pairs() {
            return self.law_of_pairs(&config.family());
        }
        if BOUND_HEADS.contains(&&*config.family()) {
            return Law::Never(BOUND);
        }
        let own = config.says("head_dim") || OWN_HEAD_DIM.contains(&&*config.family());
        match (config.names_an_architecture(), config.says("num_attention_heads")) {
            (true, _) if !own => return Law::Never(NO_HEAD_SIZE),
            (true, false) => return Law::Never(NO_WIDTH),
            (false, false) => return Law::Free,
            _ => {}
        }
        let mut per_unit = vec![("num_attention_heads", self.queries / self.units())];
        if self.groups > 1 && config.says("num_key_value_heads") {
            per_unit.push(("num_key_value_heads", 1));
        }
        Law::Config { per_unit, fixed: vec![("head_dim", self.size)] }
    }
}

impl Heads {
    /// What a GGUF file says of heads, in architectures of which llama.cpp takes their size apart from their number.
    fn law_of_pairs(self, family: &str) -> Law {
        if !["llama", "qwen3"].contains(&family) {
            return Law::Never(NO_HEADS_IN_PAIRS);
        }
        let mut per_unit = vec![("attention.head_count", self.queries / self.units())];
        if self.groups > 1 {
            per_unit.push(("attention.head_count_kv", 1));
        }
        let fixed = ["attention.key_length", "attention.value_length"].map(|key| (key, self.size));
        Law::Config { per_unit, fixed: fixed.to_vec() }
    }
}

fn split_attention(builder: &mut Builder<'_>, names: &Attention, module: &str, query: usize) -> bool {
    let Some(parent) = parent(module, names.query) else { return false };
    let part = |name: &str| child(parent, name);
    let weights = [names.key, names.value, names.output].map(|name| builder.weight(&part(name)));
    let [Some(key), Some(value), Some(output)] = weights else { return false };
    for weight in [query, key, value] {
        builder.set_alone(weight, 1, Alone::Residual);
    }
    builder.set_alone(output, 0, Alone::Residual);
    let rows = |t: usize| builder.shape(t)[0];
    let Some(heads) = Heads::of(builder, &part(names.norms[0]), rows(query), rows(key)) else { return true };
    let value_size = rows(value) / heads.groups;
    let (units, per_unit) = (heads.units(), heads.queries / heads.units());
    let at_queries = sections(heads.query_width());
    let Some(mut members) = produced(builder, module, query, 0, &at_queries) else { return true };
    if heads.groups > 1 {
        for (name, weight, width) in [(names.key, key, heads.size), (names.value, value, value_size)] {
            let Some(produced) = produced(builder, &part(name), weight, 0, &sections(width)) else { return true };
            members.extend(produced);
        }
    }
    members.push(Member::new(output, 1, sections(value_size * per_unit)));
    // A norm over all heads together has entries of its own for each.
    for (name, width) in names.norms.into_iter().zip([heads.query_width(), heads.size]) {
        let norm = builder.find(&part(name)).filter(|&norm| builder.shape(norm) == [width * units] && units > 1);
        members.extend(norm.map(|norm| Member::new(norm, 0, sections(width))));
    }
    let strange = builder.below(parent).any(|(i, t)| {
        let by_head = t.shape == [heads.queries] || t.shape == [heads.groups];
        let known = members.iter().any(|m| m.tensor == i) || t.name.ends_with("_norm.weight");
        by_head && units > 1 && heads.size > 1 && !known
    });
    if !strange {
        builder.share(Dimension { kind: Kind::Heads, units, members, law: heads.law(builder.config), frozen: false });
    }
    true
}

/// Queries, keys and values in one tensor: NeoX and BLOOM head by head, Phi-3 and GPT-2 one after the other.
fn fused_attention(builder: &mut Builder<'_>, module: &str, fused: usize) {
    let Some((parent, part)) = module.rsplit_once('.') else { return };
    let output = match part {
        "query_key_value" => "dense",
        "qkv_proj" => "o_proj",
        "c_attn" => "c_proj",
        _ => return,
    };
    let transposed = part == "c_attn";
    let (out, into) = if transposed { (1, 0) } else { (0, 1) };
    let (Some(output), Some(config)) = (builder.weight(&child(parent, output)), builder.config) else { return };
    builder.set_alone(fused, into, Alone::Residual);
    builder.set_alone(output, out, Alone::Residual);
    let (all, width) = (builder.shape(fused)[out], builder.shape(output)[into]);
    let Some(key_rows) = all.checked_sub(width).filter(|rest| rest.is_multiple_of(2)).map(|rest| rest / 2) else {
        return;
    };
    let Some(heads) = Heads::of(builder, &child(parent, "q_norm.weight"), width, key_rows) else { return };
    let by_head = part == "query_key_value";
    let known = ["gpt_neox", "bloom"].contains(&&*config.family()) && heads.groups == heads.queries;
    if (by_head && !known) || (transposed && heads.groups != heads.queries) || heads.groups == 1 {
        return;
    }
    let at = if by_head {
        sections(3 * heads.size)
    } else {
        let own = |start, width| Section { start, width };
        vec![own(0, heads.query_width()), own(width, heads.size), own(width + key_rows, heads.size)]
    };
    let Some(mut members) = produced(builder, module, fused, out, &at) else { return };
    members.push(Member::new(output, into, sections(heads.query_width())));
    builder.share(Dimension {
        kind: Kind::Heads,
        units: heads.units(),
        members,
        law: heads.law(Some(config)),
        frozen: false,
    });
}
