//! Text that a guest can influence, made fit for a status.

/// The most bytes of a message.
pub const MAX_MESSAGE_BYTES: usize = agentvm_policy::budget::CONDITION_BYTES.usize();

const CUT: &str = "…";

/// `text` in one line of at most [`MAX_MESSAGE_BYTES`], without control characters and without
/// those that reorder what a terminal shows; what is cut ends in `…`.
pub fn sentence(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if is_reordering(c) {
            continue;
        }
        let c = if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            ' '
        } else {
            c
        };
        if out.len() + c.len_utf8() > MAX_MESSAGE_BYTES {
            return cut(out);
        }
        out.push(c);
    }
    out
}

const fn is_reordering(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

fn cut(mut text: String) -> String {
    while text.len() + CUT.len() > MAX_MESSAGE_BYTES {
        text.pop();
    }
    text.push_str(CUT);
    text
}

#[cfg(test)]
mod tests {
    use super::{MAX_MESSAGE_BYTES, sentence};

    #[test]
    fn control_and_reordering_characters_do_not_reach_a_status() {
        assert_eq!(sentence("a\x1b[31mb\nc\u{202E}d\u{7f}e\0"), "a [31mb cd e ");
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        for text in ["x".repeat(5_000), "ä".repeat(5_000), "🦀".repeat(5_000)] {
            let cut = sentence(&text);
            assert!(
                cut.len() <= MAX_MESSAGE_BYTES && cut.len() > MAX_MESSAGE_BYTES - 8,
                "{}",
                cut.len()
            );
            assert!(cut.ends_with('…'));
        }
        let exact = "y".repeat(MAX_MESSAGE_BYTES);
        assert_eq!(sentence(&exact), exact);
    }
}
