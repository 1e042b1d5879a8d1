//! The same weight in another model: under its own name, or, where one of the two is a GGUF file, under the name and in the order
//! of rows that llama.cpp gives it.

use super::conversion::named;
use super::{Format, Model, Scratch, Tensor};
use crate::formats::Error;
use crate::kernels::Real;
use std::collections::HashMap;
use std::ops::Range;

/// How rows of one matrix lie in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// As they are.
    Same,
    /// There, rotary pairs (j, j + size/2) of heads of so many rows are neighbours (2j, 2j + 1): `LlamaModel.permute` of
    /// llama.cpp's converter.
    Interleaved(usize),
    /// Here they are neighbours, and there they are not.
    Parted(usize),
}

impl RowOrder {
    /// The order in a GGUF file, by the rows of a head where they are interleaved.
    #[must_use]
    pub fn in_gguf(head: Option<usize>) -> Self {
        head.map_or(Self::Same, Self::Interleaved)
    }

    /// Which row a row is there.
    #[must_use]
    pub const fn there(self, row: usize) -> usize {
        match self {
            Self::Same => row,
            Self::Interleaved(size) => {
                let (half, within) = (size / 2, row % size);
                row - within + 2 * (within % half) + within / half
            }
            Self::Parted(size) => {
                let (half, within) = (size / 2, row % size);
                row - within + (within % 2) * half + within / 2
            }
        }
    }

    /// Where elements `range` of a tensor of this shape lie there, run by run.
    pub fn places(self, range: Range<usize>, shape: &[usize]) -> impl Iterator<Item = Range<usize>> {
        // A bias is a column: each of its elements is a row. Rows that stay are one run, however many they are.
        let cols = match (self, shape) {
            (Self::Same, _) => range.end.max(1),
            (_, [_, rest @ ..]) => rest.iter().product::<usize>().max(1),
            (_, []) => 1,
        };
        let mut at = range.start;
        std::iter::from_fn(move || {
            (at < range.end).then(|| {
                let (row, within) = (at / cols, at % cols);
                let end = ((row + 1) * cols).min(range.end);
                let place = self.there(row) * cols + within;
                let run = place..place + end - at;
                at = end;
                run
            })
        })
    }
}

/// A tensor of another model, read in the order of the one that it stands beside.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// The other model.
    pub model: &'a Model,
    /// Its tensor.
    pub tensor: &'a Tensor,
    /// How rows lie there.
    pub order: RowOrder,
}

impl Beside<'_> {
    /// Elements `range`, replacing what `out` held.
    ///
    /// # Errors
    /// As [`Model::values`].
    pub fn values<T: Real>(self, range: Range<usize>, out: &mut Vec<T>, scratch: &mut Scratch) -> Result<(), Error> {
        self.runs(range, out, |place, run| self.model.values(self.tensor, place, run, scratch))
    }

    /// Which of the elements `range` are 0, replacing what `out` held.
    ///
    /// # Errors
    /// As [`Model::zeros`].
    pub fn zeros(self, range: Range<usize>, out: &mut Vec<bool>, scratch: &mut Scratch) -> Result<(), Error> {
        self.runs(range, out, |place, run| self.model.zeros(self.tensor, place, run, scratch))
    }

    fn runs<T>(
        self,
        range: Range<usize>,
        out: &mut Vec<T>,
        mut read: impl FnMut(Range<usize>, &mut Vec<T>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.order == RowOrder::Same {
            return read(range, out);
        }
        out.clear();
        let mut run = Vec::new();
        for place in self.order.places(range, &self.tensor.shape) {
            read(place, &mut run)?;
            out.append(&mut run);
        }
        Ok(())
    }
}

/// Where a tensor is found in another model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counterpart {
    /// Its position there.
    pub index: usize,
    /// How its rows lie there.
    pub order: RowOrder,
}

impl Counterpart {
    /// The tensor itself.
    #[must_use]
    pub fn of(self, model: &Model) -> Beside<'_> {
        Beside { model, tensor: &model.tensors[self.index], order: self.order }
    }
}

/// For each tensor of `here`, where `there` has it: by its name, else by the one that llama.cpp's converter gives it.
#[must_use]
pub fn counterparts(here: &Model, there: &Model) -> Vec<Option<Counterpart>> {
    let by_name = |tensor: &Tensor| Some(Counterpart { index: there.counterpart(tensor)?, order: RowOrder::Same });
    let mut found: Vec<Option<Counterpart>> = here.tensors.iter().map(by_name).collect();
    match (here.format == Format::Gguf, there.format == Format::Gguf) {
        (false, true) => {
            let Some(places) = named(here) else { return found };
            for (place, found) in places.iter().zip(&mut found) {
                let Some(place) = place else { continue };
                let index = there.find(&place.name);
                let order = RowOrder::in_gguf(place.interleaved);
                *found = found.or_else(|| Some(Counterpart { index: index?, order }));
            }
        }
        (true, false) => {
            let Some(places) = named(there) else { return found };
            let places = places.iter().enumerate();
            let at: HashMap<&str, (usize, Option<usize>)> = places
                .filter_map(|(index, place)| {
                    place.as_ref().map(|place| (place.name.as_str(), (index, place.interleaved)))
                })
                .collect();
            for (tensor, found) in here.tensors.iter().zip(&mut found) {
                let place = at.get(tensor.name.as_str());
                let order = |head: Option<usize>| head.map_or(RowOrder::Same, RowOrder::Parted);
                *found = found.or_else(|| place.map(|&(index, head)| Counterpart { index, order: order(head) }));
            }
        }
        _ => {}
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_where_llama_cpp_s_converter_puts_them_and_back() {
        // numpy: arange(12).reshape(2, 2, 3).swapaxes(1, 2).ravel() lists the source row of each place.
        let sources = [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11];
        for (place, row) in sources.into_iter().enumerate() {
            assert_eq!(RowOrder::Interleaved(6).there(row), place);
            assert_eq!(RowOrder::Parted(6).there(place), row);
        }
    }

    #[test]
    fn places_cover_a_range_once_whatever_its_ends() {
        for order in [RowOrder::Same, RowOrder::Interleaved(4), RowOrder::Parted(4)] {
            for (shape, len) in [(&[8, 3][..], 24), (&[8], 8)] {
                let cols = len / 8;
                let all: Vec<usize> = (0..len).map(|i| order.there(i / cols) * cols + i % cols).collect();
                for start in 0..=len {
                    for end in start..=len {
                        let places: Vec<usize> = order.places(start..end, shape).flatten().collect();
                        assert_eq!(places, all[start..end], "{order:?} {shape:?} {start}..{end}");
                    }
                }
            }
        }
    }
}
