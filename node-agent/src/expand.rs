//! `$(NAME)` in arguments, by Kubernetes' rules.

use std::collections::BTreeMap;

/// Replaces each `$(NAME)` by the variable of that name.
///
/// `$$` is a literal `$`, so `$$(NAME)` stays `$(NAME)`. A reference to a variable that does
/// not exist, and one that is never closed, stay as they are. A replaced value is not
/// expanded again.
pub fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = one(after, variables, &mut out);
    }
    out.push_str(rest);
    out
}

/// Handles what follows one `$` and returns what is left.
fn one<'a>(after: &'a str, variables: &BTreeMap<String, String>, out: &mut String) -> &'a str {
    if let Some(rest) = after.strip_prefix('$') {
        out.push('$');
        return rest;
    }
    let reference = after
        .strip_prefix('(')
        .and_then(|inner| inner.split_once(')'));
    let Some((name, rest)) = reference else {
        out.push('$');
        return after;
    };
    if let Some(value) = variables.get(name) {
        out.push_str(value);
    } else {
        out.push_str("$(");
        out.push_str(name);
        out.push(')');
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_expand_by_the_rules_of_kubernetes() {
        let variables = BTreeMap::from([
            ("A".to_owned(), "alpha".to_owned()),
            ("LOOP".to_owned(), "$(A)".to_owned()),
            ("EMPTY".to_owned(), String::new()),
        ]);
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("$(A)", "alpha"),
            ("x$(A)y$(A)", "xalphayalpha"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$alpha"),
            ("$$$$(A)", "$$(A)"),
            ("$(UNKNOWN)", "$(UNKNOWN)"),
            ("$(LOOP)", "$(A)"),
            ("[$(EMPTY)]", "[]"),
            ("$(A", "$(A"),
            ("$", "$"),
            ("a$b", "a$b"),
            ("$()", "$()"),
            ("$(A)$", "alpha$"),
            ("ä$(A)ö", "äalphaö"),
        ] {
            assert_eq!(expand(text, &variables), expected, "{text:?}");
        }
    }
}
