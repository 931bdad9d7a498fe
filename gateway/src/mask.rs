//! Covers a key wherever it stands in what an upstream sends back, over any cut into pieces.
//!
//! This is a second line, and a best effort: an upstream that wants to tell a guest a key can write
//! it in a way that nobody knows beforehand. The first line is that keys go to the origin that
//! they are meant for and to no other.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::guards::{Guard, is_on};
use crate::secret::Secret;

/// What stands in the place of each byte of a key.
const COVER: u8 = b'*';

/// The shortest text that is covered: what is shorter stands everywhere by chance.
const LEAST_BYTES: usize = 8;

/// The forms in which keys are looked for.
#[derive(Clone, Debug, Default)]
pub struct Patterns(Vec<Zeroizing<Vec<u8>>>);

impl Patterns {
    /// Looks for each of `secrets` as it is, in base64 and with escapes for URLs.
    pub fn of<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let forms: BTreeSet<Vec<u8>> = secrets
            .into_iter()
            .flat_map(|secret| forms(secret.expose().as_bytes()))
            .filter(|form| form.len() >= LEAST_BYTES)
            .collect();
        Self(forms.into_iter().map(Zeroizing::new).collect())
    }

    /// True where there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Covers every form in `text`.
    pub fn cover(&self, text: &[u8]) -> Vec<u8> {
        let mut masker = Masker::new(self.clone());
        let mut covered = masker.push(text);
        covered.extend(masker.finish());
        covered
    }

    /// How many bytes at the end of `text` could be the beginning of a form.
    fn held(&self, text: &[u8]) -> usize {
        let begins_at_end = |form: &Zeroizing<Vec<u8>>| {
            let most = text.len().min(form.len().saturating_sub(1));
            let begins = |length: &usize| {
                let end = text.get(text.len() - length..);
                end.is_some_and(|end| form.starts_with(end))
            };
            (1..=most).rev().find(begins).unwrap_or(0)
        };
        self.0.iter().map(begins_at_end).max().unwrap_or(0)
    }
}

/// A key as it is, in base64 (at each of its three offsets the part that depends on nothing before
/// or after it), and escaped.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![secret.to_vec(), escaped(secret)];
    // How many bytes stand before it, and how many characters hold bits of those.
    for (before, unsure) in [(&[][..], 0), (&[0], 2), (&[0, 0], 3)] {
        let shifted = [before, secret].concat();
        let sure = shifted.len() / 3 * 4;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = engine.encode(&shifted);
            let part = text.get(unsure..sure).unwrap_or_default();
            all.push(part.as_bytes().to_vec());
        }
    }
    all
}

fn escaped(secret: &[u8]) -> Vec<u8> {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let mut text = Vec::with_capacity(secret.len());
    for &byte in secret {
        if plain(byte) {
            text.push(byte);
        } else {
            text.extend(format!("%{byte:02X}").into_bytes());
        }
    }
    text
}

/// Covers each `form` in `came`, those that overlap each other too.
fn cover(form: &[u8], came: &[u8], covered: &mut [u8]) {
    let mut from = 0;
    while let Some(at) = came
        .get(from..)
        .and_then(|rest| memchr::memmem::find(rest, form))
        .map(|at| from + at)
    {
        if let Some(found) = covered.get_mut(at..at + form.len())
            && is_on(Guard::Cover)
        {
            found.fill(COVER);
        }
        from = at + 1;
    }
}

/// Covers keys in a text that comes in pieces. Holds back only what could be the beginning of one.
#[derive(Debug)]
pub struct Masker {
    patterns: Patterns,
    /// The end of the text so far, as it came and as it is handed on.
    came: Zeroizing<Vec<u8>>,
    covered: Vec<u8>,
}

impl Masker {
    /// Nothing has come yet.
    pub fn new(patterns: Patterns) -> Self {
        Self {
            patterns,
            came: Zeroizing::default(),
            covered: Vec::new(),
        }
    }

    /// What it looks for.
    pub const fn patterns(&self) -> &Patterns {
        &self.patterns
    }

    /// Takes the next piece; what can be handed on by now.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.came.extend_from_slice(piece);
        self.covered.extend_from_slice(piece);
        for form in &self.patterns.0 {
            cover(form, &self.came, &mut self.covered);
        }
        let ready = self.came.len() - self.patterns.held(&self.came);
        self.came.drain(..ready);
        self.covered.drain(..ready).collect()
    }

    /// The text is over; what was held back.
    pub fn finish(&mut self) -> Vec<u8> {
        self.came.clear();
        std::mem::take(&mut self.covered)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::guards::switch_off;

    fn patterns(keys: &[&str]) -> Patterns {
        let secrets: Vec<Secret> = keys.iter().map(|key| Secret::from(*key)).collect();
        Patterns::of(&secrets)
    }

    fn in_pieces(patterns: &Patterns, pieces: &[&[u8]]) -> Vec<u8> {
        let mut masker = Masker::new(patterns.clone());
        let mut all: Vec<u8> = pieces.iter().flat_map(|piece| masker.push(piece)).collect();
        all.extend(masker.finish());
        all
    }

    #[test]
    fn h02_a_key_that_comes_back_is_covered_in_every_form_that_is_known() {
        let key = "sk-CANARY/7f+3 x";
        let patterns = patterns(&[key]);
        for before in ["", "Q", "QW", "Bearer "] {
            let text = format!("{before}{key}");
            for reflected in [
                text.clone(),
                STANDARD_NO_PAD.encode(&text),
                URL_SAFE_NO_PAD.encode(&text),
                base64::engine::general_purpose::STANDARD.encode(format!("{text}more")),
                format!("?k={}", String::from_utf8(escaped(key.as_bytes())).unwrap()),
            ] {
                let covered = String::from_utf8(patterns.cover(reflected.as_bytes())).unwrap();
                assert_eq!(covered.len(), reflected.len());
                assert!(covered.contains("********"), "{reflected} became {covered}");
                assert!(!covered.contains("CANARY"), "{covered}");
            }
        }
    }

    #[test]
    fn h02_a_key_is_covered_wherever_it_is_cut() {
        let patterns = patterns(&["hunter2hunter3"]);
        let text = b"a hunter2hunter3 b hunter2hunter2hunter3";
        let whole = patterns.cover(text);
        assert_eq!(whole, b"a ************** b hunter2**************");
        for cut in 0..text.len() {
            let (left, right) = text.split_at(cut);
            assert_eq!(in_pieces(&patterns, &[left, right]), whole, "{cut}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(in_pieces(&patterns, &bytes), whole);
    }

    #[test]
    fn h02_without_its_guard_a_key_comes_back() {
        let patterns = patterns(&["hunter2hunter3"]);
        let reflected = || patterns.cover(b"a hunter2hunter3 b");
        assert_eq!(reflected(), b"a ************** b");
        assert_eq!(switch_off(Guard::Cover, reflected), b"a hunter2hunter3 b");
    }

    #[test]
    fn two_keys_that_overlap_are_both_covered() {
        let patterns = patterns(&["abcdefgh", "efghijkl"]);
        assert_eq!(patterns.cover(b"-abcdefghijkl-"), b"-************-");
        assert_eq!(
            in_pieces(&patterns, &[b"-abcdef", b"gh", b"ijkl-"]),
            b"-************-"
        );
    }

    #[test]
    fn what_is_no_key_is_handed_on_at_once() {
        let mut masker = Masker::new(patterns(&["hunter2hunter3"]));
        assert_eq!(masker.push(b"nothing of it"), b"nothing of it");
        assert_eq!(masker.push(b"and hun"), b"and ");
        assert_eq!(masker.push(b"gry"), b"hungry");
        assert!(Patterns::of([&Secret::from("short")]).is_empty());
    }

    proptest! {
        #[test]
        fn a_cut_changes_nothing(
            text in prop::collection::vec(prop::sample::select(b"ab".to_vec()), 0..80),
            cuts in prop::collection::vec(0_usize..80, 0..6),
        ) {
            let patterns = patterns(&["abababab", "bbabbabb"]);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
            let covered = in_pieces(&patterns, &pieces);
            prop_assert_eq!(&covered, &patterns.cover(&text));
            prop_assert_eq!(covered.len(), text.len());
            for form in &patterns.0 {
                prop_assert_eq!(memchr::memmem::find(&covered, form.as_slice()), None);
            }
        }
    }
}
