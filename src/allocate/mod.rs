//! A wish in, a recipe out: the ways of spreading a budget over a network that have names.
//!
//! | file | what it settles |
//! |---|---|
//! | this | the presets: their names, what they ask for, and the recipe that each makes |
//! | [`shares`] | how much of each matrix stays: uniform, ERK |
//! | [`lamp`] | the same by a score over all weights |
//! | [`ladder`] | rounds of iterative pruning: the Lottery Ticket's, Renda's |
//! | [`mixes`] | schemes that papers gave to named networks: Deep Compression, `Q8BERT`, `TernaryBERT` |
//!
//! A recipe made here is text like any other: shares are written out, and whoever reads it needs neither this room nor the
//! weights.

pub mod ladder;
pub mod lamp;
pub mod mixes;
pub mod shares;

use crate::compress;
use crate::control::Control;
use crate::kernels::layout::Unit;
use crate::model::{Model, Role, Tensor};
use crate::recipe::{self, Decimal, Override, Pattern, Prune, Quantize, Recipe, Rule, Scheme, Scope};

/// Why there is no recipe.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum Error {
    #[error(transparent)]
    Compress(#[from] compress::Error),
    #[error(transparent)]
    Recipe(#[from] recipe::Error),
    #[error("preset {preset} does not fit this model: {why}")]
    DoesNotFit { preset: &'static str, why: String },
    #[error("preset {preset} needs {what}")]
    Needs { preset: &'static str, what: &'static str },
    #[error("preset {preset} takes no {what}")]
    TakesNo { preset: &'static str, what: &'static str },
}

/// A way of spreading a budget that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "`about` says what each is")]
pub enum Preset {
    Uniform,
    Global,
    Erk,
    Lamp,
    LotteryTicket,
    Renda,
    DeepCompression,
    Q8Bert,
    TernaryBert,
}

/// What a preset asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// The share of all weights to be pruned, from 0 to 1.
    Share,
    /// The round of a ladder, from 1.
    Round,
    /// Nothing.
    None,
}

/// A preset with what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which.
    pub preset: Preset,
    /// For [`Parameter::Share`].
    pub share: Option<Decimal>,
    /// For [`Parameter::Round`].
    pub round: Option<u32>,
}

impl Preset {
    /// Every preset.
    pub const ALL: &[Self] = &[
        Self::Uniform,
        Self::Global,
        Self::Erk,
        Self::Lamp,
        Self::LotteryTicket,
        Self::Renda,
        Self::DeepCompression,
        Self::Q8Bert,
        Self::TernaryBert,
    ];

    /// Its word in commands.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Global => "global",
            Self::Erk => "erk",
            Self::Lamp => "lamp",
            Self::LotteryTicket => "lottery-ticket",
            Self::Renda => "renda",
            Self::DeepCompression => "deep-compression",
            Self::Q8Bert => "q8bert",
            Self::TernaryBert => "ternarybert",
        }
    }

    /// One line for people, with the paper.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Uniform => "the same share of every matrix, smallest magnitudes first",
            Self::Global => "one magnitude threshold over all matrices",
            Self::Erk => "small and thin matrices keep more: Erdős–Rényi kernel (RigL, arXiv 1911.11134)",
            Self::Lamp => "one threshold on w² over the energy that outlasts it: LAMP (arXiv 2010.07611)",
            Self::LotteryTicket => {
                "a round of the Lottery Ticket: 20 % of what is left, less of convolutions and output (arXiv 1803.03635)"
            }
            Self::Renda => "a round of learning-rate rewinding: 20 % of what is left, globally (arXiv 2003.02389)",
            Self::DeepCompression => {
                "LeNet-300-100 or LeNet-5 with that paper's shares and codebooks (arXiv 1510.00149)"
            }
            Self::Q8Bert => "8-bit integers, one scale per matrix and embedding: Q8BERT (arXiv 1910.06188)",
            Self::TernaryBert => {
                "ternary transformer matrices, a ternary row for every word: TernaryBERT (arXiv 2009.12812)"
            }
        }
    }

    /// What it asks for.
    #[must_use]
    pub const fn parameter(self) -> Parameter {
        match self {
            Self::Uniform | Self::Global | Self::Erk | Self::Lamp => Parameter::Share,
            Self::LotteryTicket | Self::Renda => Parameter::Round,
            Self::DeepCompression | Self::Q8Bert | Self::TernaryBert => Parameter::None,
        }
    }

    /// Whether its recipe depends on the weights, which are then read.
    #[must_use]
    pub const fn reads_weights(self) -> bool {
        matches!(self, Self::Lamp)
    }

    fn does_not_fit(self, why: impl Into<String>) -> Error {
        Error::DoesNotFit { preset: self.name(), why: why.into() }
    }
}

impl Choice {
    /// The rules and overrides that the preset makes for a model.
    ///
    /// # Errors
    /// A share or round that is missing or not asked for, a model that the preset does not fit, weights that cannot be read.
    pub fn recipe(&self, model: &Model, control: &Control) -> Result<Recipe, Error> {
        let preset = self.preset;
        self.check()?;
        let matrices: Vec<&Tensor> =
            model.tensors.iter().filter(|t| t.is_weight_matrix() && t.elements() > 0).collect();
        if matrices.is_empty() {
            return Err(preset.does_not_fit("it has no weight matrix that a pattern touches"));
        }
        let share = self.share.unwrap_or(Decimal::from_f64(0.0, 0));
        let round = self.round.unwrap_or(1);
        Ok(match preset {
            Preset::Uniform => everywhere(pruned(share, Scope::Tensor))?,
            Preset::Global => everywhere(pruned(share, Scope::Global))?,
            Preset::Renda => everywhere(pruned(ladder::share(ladder::RATE, round), Scope::Global))?,
            Preset::Erk => one_by_one(&matrices, &shares::erk(&matrices, share)),
            Preset::Lamp => one_by_one(&matrices, &lamp::shares(model, &matrices, share, control)?),
            Preset::LotteryTicket => one_by_one(&matrices, &ladder::lottery_ticket(&matrices, round)),
            Preset::DeepCompression => {
                each(mixes::deep_compression(&matrices).map_err(|why| preset.does_not_fit(why))?)
            }
            Preset::Q8Bert => each(mixes::q8bert(&model.tensors)),
            Preset::TernaryBert => each(mixes::ternarybert(&matrices).map_err(|why| preset.does_not_fit(why))?),
        })
    }

    fn check(&self) -> Result<(), Error> {
        let preset = self.preset.name();
        let wants = self.preset.parameter();
        match (wants, self.share.is_some(), self.round.is_some()) {
            (Parameter::Share, false, _) => Err(Error::Needs { preset, what: "a share to prune, such as --share 0.9" }),
            (Parameter::Round, _, false) => Err(Error::Needs { preset, what: "a round, such as --round 7" }),
            (Parameter::None | Parameter::Round, true, _) => Err(Error::TakesNo { preset, what: "share" }),
            (Parameter::None | Parameter::Share, _, true) => Err(Error::TakesNo { preset, what: "round" }),
            _ => Ok(()),
        }
    }
}

fn pruned(share: Decimal, scope: Scope) -> Scheme {
    Scheme::keep().with_prune(Some(Prune::Magnitude { share, scope }))
}

/// One rule for every weight matrix.
fn everywhere(scheme: Scheme) -> Result<Recipe, Error> {
    Ok(Recipe { rules: vec![Rule { pattern: Pattern::new("*")?, scheme }], ..Recipe::default() })
}

/// A share of its own for every matrix; of which nothing goes is kept.
fn one_by_one(matrices: &[&Tensor], shares: &[Decimal]) -> Recipe {
    let own = |(tensor, share): (&&Tensor, &Decimal)| {
        (tensor.name.clone(), if share.is_zero() { Scheme::keep() } else { pruned(*share, Scope::Tensor) })
    };
    each(matrices.iter().zip(shares).map(own).collect())
}

/// A scheme of its own for every tensor of a list.
fn each(schemes: Vec<(String, Scheme)>) -> Recipe {
    let one = |(tensor, scheme)| Override { tensor, scheme };
    Recipe { overrides: schemes.into_iter().map(one).collect(), ..Recipe::default() }
}

fn int8() -> Scheme {
    let quantize =
        Quantize::Int { bits: 8, unit: Unit::Tensor, asymmetric: false, range: recipe::Range::Max, a8: false };
    Scheme::keep().with_quantize(Some(quantize))
}

/// The share that prunes `gone` of `n` elements, and no other number of them.
fn share_of_count(gone: u64, n: u64) -> Decimal {
    Decimal::from_f64(if n > 0 { gone as f64 / n as f64 } else { 0.0 }, 15)
}

/// The matrix that makes the output: of those that are named as heads, else of all but embeddings, the last in the order in
/// which people count.
fn output_of<'t>(matrices: &[&'t Tensor]) -> Option<&'t Tensor> {
    let two = |t: &&&Tensor| t.shape.len() == 2 && t.role != Role::Embedding;
    let heads: Vec<&'t Tensor> = matrices.iter().filter(|t| t.role == Role::Head).filter(two).copied().collect();
    let others = || matrices.iter().filter(two).copied().collect();
    let candidates: Vec<&'t Tensor> = if heads.is_empty() { others() } else { heads };
    candidates.into_iter().max_by_key(|t| counted(&t.name))
}

/// A name cut into words and numbers, so that `fc10` comes after `fc9`.
fn counted(name: &str) -> Vec<(String, u64)> {
    let mut out = vec![(String::new(), 0_u64)];
    let mut in_number = false;
    for c in name.chars() {
        if let Some(digit) = c.to_digit(10) {
            if let Some((_, number)) = out.last_mut() {
                *number = number.saturating_mul(10).saturating_add(u64::from(digit));
            }
            in_number = true;
        } else {
            if in_number {
                out.push((String::new(), 0));
            }
            if let Some((word, _)) = out.last_mut() {
                word.push(c);
            }
            in_number = false;
        }
    }
    out
}
