//! Headers that a rule adds for its origin, made of keys that the guest never sees.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

use crate::guards::{Guard, is_on};
use crate::headers;
use crate::secret::Secret;

/// What stands for the key in a template.
const HOLE: &str = "{}";

/// One header that is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    name: HeaderName,
    before: String,
    after: String,
    secret: Secret,
}

/// Why a header can't be injected. Never holds the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadInjection {
    /// Not a name of a header.
    #[error("{0:?} is no name of a header")]
    Name(String),
    /// A header that frames or routes requests.
    #[error("the header {0} can't be injected: it frames or routes requests")]
    Reserved(HeaderName),
    /// The template has no hole, or more than one.
    #[error("the template {0:?} has to have {{}} once, where the key goes")]
    Template(String),
    /// The key or the template has a character that no header has, such as a newline at its end.
    #[error("the header {0} would have a control character: does the key end with a newline?")]
    Value(HeaderName),
}

impl Injection {
    /// A header of `name` whose value is `template` with the key in the place of `{}`.
    ///
    /// # Errors
    ///
    /// [`BadInjection`], which never holds the key.
    pub fn new(name: &str, template: &str, secret: Secret) -> Result<Self, BadInjection> {
        let parsed = name.parse::<HeaderName>();
        let name =
            parsed.map_err(|_not_a_name| BadInjection::Name(name.chars().take(80).collect()))?;
        if !headers::can_be_injected(&name) {
            return Err(BadInjection::Reserved(name));
        }
        let bad_template = || BadInjection::Template(template.chars().take(80).collect());
        let (before, after) = template.split_once(HOLE).ok_or_else(bad_template)?;
        if after.contains(HOLE) {
            return Err(bad_template());
        }
        let injection = Self {
            name,
            before: before.to_owned(),
            after: after.to_owned(),
            secret,
        };
        match injection.value() {
            Some(_fits) => Ok(injection),
            None => Err(BadInjection::Value(injection.name)),
        }
    }

    /// The key.
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Puts the header in the place of whatever the guest sent under its name.
    pub fn apply(&self, headers: &mut HeaderMap) {
        if is_on(Guard::Replace) {
            headers.remove(&self.name);
        }
        if let Some(value) = self.value() {
            headers.append(self.name.clone(), value);
        }
    }

    fn value(&self) -> Option<HeaderValue> {
        let text = [&self.before, self.secret.expose(), &self.after].concat();
        let text = Zeroizing::new(text);
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::switch_off;

    fn injected(template: &str, key: &str) -> Result<Injection, BadInjection> {
        Injection::new("authorization", template, Secret::from(key))
    }

    #[test]
    fn i01_the_keys_header_replaces_whatever_the_guest_sent() {
        let mut headers = HeaderMap::new();
        headers.append("authorization", HeaderValue::from_static("Bearer mine"));
        headers.append("Authorization", HeaderValue::from_static("Basic mine"));
        injected("Bearer {}", "CANARY").unwrap().apply(&mut headers);
        let all: Vec<_> = headers.get_all("authorization").iter().collect();
        assert_eq!(all, ["Bearer CANARY"]);
        assert!(all.iter().all(|value| value.is_sensitive()));
    }

    #[test]
    fn i01_without_its_guard_the_guests_header_is_sent_as_well() {
        let mut headers = HeaderMap::new();
        headers.append("authorization", HeaderValue::from_static("Bearer mine"));
        let key = injected("Bearer {}", "CANARY").unwrap();
        switch_off(Guard::Replace, || key.apply(&mut headers));
        assert_eq!(headers.get_all("authorization").iter().count(), 2);
    }

    #[test]
    fn h04_no_error_and_no_debug_text_has_the_key() {
        let ends_with_newline = injected("Bearer {}", "CANARY\n").unwrap_err();
        assert!(ends_with_newline.to_string().contains("newline"));
        let good = injected("Bearer {}", "CANARY").unwrap();
        for text in [format!("{ends_with_newline:?}"), format!("{good:?}")] {
            assert!(!text.contains("CANARY"), "{text}");
        }
    }

    #[test]
    fn a_template_has_one_hole_and_a_header_that_may_be_set() {
        for template in ["", "Bearer", "{} {}", "{", "}{"] {
            assert!(
                matches!(injected(template, "k"), Err(BadInjection::Template(_))),
                "{template}"
            );
        }
        for name in ["host", "Content-Length", "transfer-encoding"] {
            let refused = Injection::new(name, "{}", Secret::from("k"));
            assert!(matches!(refused, Err(BadInjection::Reserved(_))), "{name}");
        }
        assert!(matches!(
            Injection::new("a b", "{}", Secret::from("k")),
            Err(BadInjection::Name(_))
        ));
    }
}
