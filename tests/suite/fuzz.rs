//! The fuzz targets of `tests/fuzz` on their corpus and on what is made from it.

#[path = "../fuzz/src/target.rs"]
mod target;

use std::{collections::BTreeSet, fs};

use harness::server::root;

/// Inputs made from each one of a corpus.
const MADE: u32 = 300;

/// The same numbers every time (xorshift, G. Marsaglia 2003).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (bound.max(1) as u64)).unwrap()
    }
}

/// One place cut out, doubled, flipped, or replaced by something from another input.
fn made(input: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len());
        let end = (at + 1 + numbers.below(8)).min(bytes.len());
        match numbers.below(4) {
            0 => drop(bytes.drain(at..end)),
            1 => {
                let twice = bytes[at..end].to_vec();
                bytes.splice(at..at, twice);
            }
            2 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            _ => {
                let from = numbers.below(other.len());
                let piece = other[from..(from + numbers.below(16)).min(other.len())].to_vec();
                bytes.splice(at..end, piece);
            }
        }
    }
    bytes
}

#[test]
fn every_target_survives_its_corpus_and_what_is_made_from_it() {
    let corpus = root().join("tests/fuzz/corpus");
    let folders: BTreeSet<String> =
        fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(folders, target::ALL.iter().map(|(name, _)| (*name).to_owned()).collect());
    for (name, run) in target::ALL {
        let files = fs::read_dir(corpus.join(name)).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
        let mut inputs: Vec<Vec<u8>> = files.collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
        for (at, input) in inputs.iter().enumerate() {
            run(input);
            for _ in 0..MADE {
                run(&made(input, &inputs[(at + 1) % inputs.len()], &mut numbers));
            }
        }
    }
}
