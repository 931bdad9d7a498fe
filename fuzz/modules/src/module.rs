//! One module, made of arbitrary bytes.

use arbitrary::Unstructured;

use crate::entry;
use crate::numbers::Numbers;
use crate::shape::Shape;

const HEADER_BYTES: usize = 8;

/// A module that can be started as a program; valid, but for [`Shape::Mangled`].
#[derive(Clone, Debug)]
pub struct Module {
    /// What it was made for.
    pub shape: Shape,
    /// Its bytes.
    pub wasm: Vec<u8>,
}

impl Module {
    /// The module that `bytes` stand for; none where they are too few for one.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(8)?;
        let seed = u64::from_le_bytes(head.try_into().ok()?);
        let mut numbers = Numbers::of(seed);
        let shape = Shape::of(head.first().copied()?);
        let config = shape.config(&mut numbers);
        let mut made = wasm_smith::Module::new(config, &mut Unstructured::new(rest)).ok()?;
        if let Some(times) = shape.terminates_after() {
            made.ensure_termination(times).ok()?;
        }
        let mut wasm = entry::add(&made.to_bytes(), shape, &mut numbers).ok()?;
        if shape == Shape::Mangled {
            mangle(&mut wasm, &mut numbers);
        }
        Some(Self { shape, wasm })
    }
}

/// Changes some bytes behind the header.
fn mangle(wasm: &mut [u8], numbers: &mut Numbers) {
    for _ in 0..=numbers.below(4) {
        let at = HEADER_BYTES + numbers.below(wasm.len().saturating_sub(HEADER_BYTES));
        let [bits, ..] = numbers.draw().to_le_bytes();
        if let Some(byte) = wasm.get_mut(at) {
            *byte ^= bits;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_first_seeds_make_a_module_each_and_all_shapes() {
        let made: Vec<Module> = (0..40)
            .map(|seed| Module::of(&crate::bytes(seed)).unwrap())
            .collect();
        let shapes: BTreeSet<Shape> = made.iter().map(|module| module.shape).collect();
        assert_eq!(shapes, BTreeSet::from(Shape::ALL));
    }

    #[test]
    fn a_seed_makes_the_same_module_each_time() {
        let wasm = || Module::of(&crate::bytes(3)).unwrap().wasm;
        assert_eq!(wasm(), wasm());
    }

    #[test]
    fn too_few_bytes_make_none() {
        assert!(Module::of(&[1; 7]).is_none());
    }
}
