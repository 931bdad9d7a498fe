//! Laws over generated requests and rules.

use agentvm_policy::egress::{HostPattern, PathPattern, Request, Rule, RuleText, Rules, Target};
use proptest::prelude::*;

fn label() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "api", "xn--b", "c-d"])
}

fn host() -> impl Strategy<Value = String> {
    prop::collection::vec(label(), 2..5).prop_map(|labels| labels.join("."))
}

fn host_pattern() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("*".to_owned()),
        host(),
        prop::collection::vec(label(), 1..4).prop_map(|labels| format!("*.{}", labels.join("."))),
    ]
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 0..5)
        .prop_map(|segments| format!("/{}", segments.join("/")))
}

fn path_pattern() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "*"]), 0..4)
        .prop_map(|segments| format!("/{}", segments.join("/")))
}

/// Pieces from which hostile paths are made.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = vec![
        "/",
        "/",
        "a",
        "..",
        ".",
        "%2e",
        "%2E",
        "%2f",
        "%5c",
        "\\",
        "%25",
        "%252e",
        "%32",
        "%65",
        ";",
        "%c0%af",
        "?",
        "#",
        "%00",
        "%61",
        "%7E",
        "é",
        " ",
        "//",
        "%",
        "*",
        "%ef%bc%8f",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..10).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn f14_the_form_that_is_permitted_is_the_form_that_is_sent(text in hostile()) {
        let Ok(target) = Target::parse(&text) else { return Ok(()) };
        let sent = target.to_string();
        prop_assert_eq!(Target::parse(&sent), Ok(target.clone()));
        let path = target.path();
        prop_assert!(path.starts_with('/'));
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        for (index, segment) in segments.iter().enumerate() {
            let is_last = index + 1 == segments.len();
            prop_assert!(is_last || !segment.is_empty(), "{}", path);
            prop_assert!(!matches!(segment.split(';').next(), Some("." | "..")), "{}", path);
        }
        let lower = path.to_ascii_lowercase();
        for escape in ["%2e", "%2f", "%5c", "%00", "%3b", "%252"] {
            prop_assert!(!lower.contains(escape), "{}", path);
        }
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in any::<String>()) {
        let _ = Request::of_url("GET", &text);
        let _ = Request::parse("GET", "https", &text, "/");
        let _ = Request::parse("GET", "https", "a.b", &text);
        let _ = text.parse::<HostPattern>();
        let _ = text.parse::<PathPattern>();
    }

    #[test]
    fn an_authority_is_read_back_as_it_was(host in host(), port in 1_u16..) {
        let request = Request::parse("GET", "https", &format!("{host}:{port}"), "/").unwrap();
        let again = Request::parse("GET", "https", &request.authority(), "/").unwrap();
        prop_assert_eq!(request, again);
    }

    #[test]
    fn a_pattern_is_read_back_as_it_was(host in host_pattern(), path in path_pattern()) {
        let host: HostPattern = host.parse().unwrap();
        prop_assert_eq!(host.to_string().parse(), Ok(host));
        if let Ok(path) = path.parse::<PathPattern>() {
            prop_assert_eq!(path.to_string().parse(), Ok(path));
        }
    }

    #[test]
    fn what_a_narrower_pattern_matches_a_wider_one_does(
        wide in path_pattern(), narrow in path_pattern(), path in path(),
    ) {
        let (Ok(wide), Ok(narrow)) = (wide.parse::<PathPattern>(), narrow.parse::<PathPattern>()) else {
            return Ok(());
        };
        prop_assert!(wide.covers(&wide));
        if wide.covers(&narrow) && narrow.matches(&path) {
            prop_assert!(wide.matches(&path), "{} covers {} and not {}", wide, narrow, path);
        }
    }

    #[test]
    fn what_a_narrower_host_pattern_matches_a_wider_one_does(
        wide in host_pattern(), narrow in host_pattern(), host in host(),
    ) {
        let wide: HostPattern = wide.parse().unwrap();
        let narrow: HostPattern = narrow.parse().unwrap();
        let host = agentvm_policy::egress::Host::parse(&host).unwrap();
        prop_assert!(wide.covers(&wide));
        if wide.covers(&narrow) && narrow.matches(&host) {
            prop_assert!(wide.matches(&host), "{} covers {} and not {}", wide, narrow, host);
        }
    }

    #[test]
    fn nothing_within_a_ceiling_gets_past_it(
        asked in (host_pattern(), path_pattern()),
        ceiling in prop::collection::vec((host_pattern(), path_pattern()), 0..4),
        host in host(), path in path(),
    ) {
        let rule = |(host, path): &(String, String)| {
            Rule::parse(&RuleText::new(host, &["GET"], &[path.as_str()])).ok()
        };
        let Some(asked) = rule(&asked) else { return Ok(()) };
        let ceiling: Vec<Rule> = ceiling.iter().filter_map(rule).collect();
        let Ok(request) = Request::of_url("GET", &format!("https://{host}{path}")) else {
            return Ok(());
        };
        let allowed = |rules: Vec<Rule>| Rules::new(rules).permit(request.clone()).is_ok();
        if asked.is_within(&ceiling) && allowed(vec![asked]) {
            prop_assert!(allowed(ceiling));
        }
    }
}
