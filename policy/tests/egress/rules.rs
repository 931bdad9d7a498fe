//! Which rule allows a request, and how far the others get.

use agentvm_policy::egress::{Denial, Request, Rule, RuleText, Rules};

fn rule(host: &str, methods: &[&str], paths: &[&str]) -> Rule {
    with_ports(host, &[], methods, paths)
}

fn with_ports(host: &str, ports: &[u16], methods: &[&str], paths: &[&str]) -> Rule {
    Rule::parse(&RuleText {
        ports: ports.to_vec(),
        ..RuleText::new(host, methods, paths)
    })
    .unwrap()
}

fn in_clear(host: &str) -> Rule {
    Rule::parse(&RuleText {
        ports: vec![80, 443],
        scheme: Some("http".to_owned()),
        ..RuleText::new(host, &["*"], &["*"])
    })
    .unwrap()
}

fn verdict(rules: &[Rule], method: &str, url: &str) -> Result<usize, Denial> {
    let request = Request::of_url(method, url).unwrap();
    let permit = Rules::new(rules.to_vec()).permit(request.clone())?;
    assert_eq!(permit.request(), &request);
    Ok(permit.rule())
}

fn root(host: &str) -> String {
    format!("https://{host}/")
}

fn get(rules: &[Rule], url: &str) -> Result<usize, Denial> {
    verdict(rules, "GET", url)
}

#[test]
fn f01_without_rules_nothing_is_allowed() {
    assert_eq!(get(&[], "https://api.example.com/"), Err(Denial::NoRules));
    let request = Request::of_url("GET", "https://api.example.com/").unwrap();
    assert_eq!(Rules::default().permit(request), Err(Denial::NoRules));
}

#[test]
fn f12_scheme_host_and_port_are_matched_exactly() {
    let rules = [rule("api.example.com", &["GET"], &["*"])];
    assert_eq!(get(&rules, "https://api.example.com/"), Ok(0));
    assert_eq!(get(&rules, "https://api.example.com:443/"), Ok(0));
    assert_eq!(get(&rules, "http://api.example.com/"), Err(Denial::Scheme));
    assert_eq!(
        get(&rules, "http://api.example.com:443/"),
        Err(Denial::Scheme)
    );
    assert_eq!(
        get(&rules, "https://api.example.com:80/"),
        Err(Denial::Port)
    );
    let clear = [in_clear("api.example.com")];
    assert_eq!(get(&clear, "http://api.example.com:443/"), Ok(0));
    assert_eq!(get(&clear, "https://api.example.com/"), Err(Denial::Scheme));
}

#[test]
fn f13_a_suffix_matches_at_the_border_of_a_label() {
    let below = [rule("*.example.com", &["GET"], &["*"])];
    for host in ["a.example.com", "a.b.example.com", "A.Example.Com."] {
        assert_eq!(get(&below, &format!("https://{host}/")), Ok(0), "{host}");
    }
    for host in [
        "example.com",
        "evilexample.com",
        "example.com.evil.example",
        "a.example.com.evil.example",
        "a.example.co",
        "aexample.com",
        "example.comevil.com",
    ] {
        assert_eq!(
            get(&below, &format!("https://{host}/")),
            Err(Denial::Host),
            "{host}"
        );
    }
    let exact = [rule("example.com", &["GET"], &["*"])];
    for host in [
        "a.example.com",
        "evilexample.com",
        "example.com.evil.example",
    ] {
        assert_eq!(
            get(&exact, &format!("https://{host}/")),
            Err(Denial::Host),
            "{host}"
        );
    }
}

#[test]
fn an_address_is_matched_by_an_address_or_a_network_and_by_no_star() {
    let star = [rule("*", &["*"], &["*"])];
    assert_eq!(get(&star, "https://any.example.com/x"), Ok(0));
    assert_eq!(get(&star, &root("9.9.9.9")), Err(Denial::Host));
    assert_eq!(get(&star, &root("[2606:4700::1111]")), Err(Denial::Host));
    let networks = [
        rule("9.9.9.0/24", &["*"], &["*"]),
        rule("2606:4700::1111", &["*"], &["*"]),
    ];
    assert_eq!(get(&networks, &root("9.9.9.9")), Ok(0));
    assert_eq!(get(&networks, &root("[2606:4700:0::1111]")), Ok(1));
    assert_eq!(get(&networks, &root("9.9.8.9")), Err(Denial::Host));
    assert_eq!(
        get(&networks, "https://any.example.com/"),
        Err(Denial::Host)
    );
}

#[test]
fn f14_a_path_is_matched_segment_by_segment() {
    for (pattern, path, allowed) in [
        ("*", "/", true),
        ("*", "/a/b", true),
        ("/*", "/a", true),
        ("/repos/*", "/repos/a", true),
        ("/repos/*", "/repos/a/b/", true),
        ("/repos/*", "/repos/", true),
        ("/repos/*", "/repos", false),
        ("/repos/*", "/reposx/a", false),
        ("/repos/*", "/Repos/a", false),
        ("/repos/*", "/repos;x/a", false),
        ("/repos/*/issues", "/repos/a/issues", true),
        ("/repos/*/issues", "/repos/a/b/issues", false),
        ("/repos/*/issues", "/repos/a/issues/", false),
        ("/repos/*/issues/*", "/repos/a/issues/7", true),
        ("/v1", "/v1", true),
        ("/v1", "/v1/", false),
        ("/v1", "/v1/x", false),
        ("/%7Eme", "/~me", true),
        ("/a%20b", "/a%20b", true),
    ] {
        let rules = [rule("api.example.com", &["GET"], &[pattern])];
        let url = format!("https://api.example.com{path}?x=/repos/a");
        let expected = if allowed { Ok(0) } else { Err(Denial::Path) };
        assert_eq!(get(&rules, &url), expected, "{pattern} {path}");
    }
}

#[test]
fn a_method_is_allowed_where_it_is_listed() {
    let rules = [rule("api.example.com", &["GET", "POST"], &["/v1/*"])];
    assert_eq!(
        verdict(&rules, "POST", "https://api.example.com/v1/x"),
        Ok(0)
    );
    assert_eq!(
        verdict(&rules, "PUT", "https://api.example.com/v1/x"),
        Err(Denial::Method)
    );
}

#[test]
fn the_rule_that_came_closest_says_why_nothing_is_allowed() {
    let rules = [
        rule("api.example.com", &["GET"], &["/v1/*"]),
        with_ports("api.example.com", &[8443], &["*"], &["*"]),
        rule("other.example.com", &["*"], &["*"]),
    ];
    assert_eq!(get(&rules, "https://api.example.com/v2"), Err(Denial::Path));
    assert_eq!(
        verdict(&rules, "PUT", "https://api.example.com/v1/a"),
        Err(Denial::Method)
    );
    assert_eq!(
        get(&rules, "https://api.example.com:444/"),
        Err(Denial::Port)
    );
    assert_eq!(get(&rules, "https://third.example.com/"), Err(Denial::Host));
}

#[test]
fn the_narrowest_rule_holds_whatever_the_order() {
    let rules = [
        rule("*", &["*"], &["*"]),
        rule("*.example.com", &["*"], &["*"]),
        rule("*.api.example.com", &["*"], &["*"]),
        rule("v1.api.example.com", &["*"], &["*"]),
        rule("v1.api.example.com", &["*"], &["/a/*"]),
        rule("v1.api.example.com", &["*"], &["/a/b/*"]),
        rule("v1.api.example.com", &["*"], &["/a/*/c"]),
        rule("v1.api.example.com", &["*"], &["/a/b/c"]),
        rule("v1.api.example.com", &["GET"], &["/a/b/c"]),
    ];
    let told: Vec<String> = rules.iter().map(Rule::to_string).collect();
    for turn in 0..rules.len() {
        let mut turned = rules.to_vec();
        turned.rotate_left(turn);
        let holds = |method: &str, url: &str| {
            let at = verdict(&turned, method, url).unwrap();
            told.iter()
                .position(|text| *text == turned[at].to_string())
                .unwrap()
        };
        assert_eq!(holds("GET", "https://elsewhere.example/"), 0);
        assert_eq!(holds("GET", "https://www.example.com/"), 1);
        assert_eq!(holds("GET", "https://v2.api.example.com/a/b/c"), 2);
        assert_eq!(holds("GET", "https://v1.api.example.com/x"), 3);
        assert_eq!(holds("GET", "https://v1.api.example.com/a/x"), 4);
        assert_eq!(holds("GET", "https://v1.api.example.com/a/b/x"), 5);
        assert_eq!(holds("GET", "https://v1.api.example.com/a/x/c"), 6);
        assert_eq!(holds("PUT", "https://v1.api.example.com/a/b/c"), 7);
        assert_eq!(holds("GET", "https://v1.api.example.com/a/b/c"), 8);
    }
}

#[test]
fn f32_a_rule_that_leaves_something_out_is_no_rule() {
    let parsed = |host, methods: &[&str], paths: &[&str]| {
        Rule::parse(&RuleText::new(host, methods, paths)).map_err(|error| error.to_string())
    };
    for (host, methods, paths, part) in [
        ("", &["*"][..], &["*"][..], "host: it is empty"),
        ("api.example.com", &[], &["*"], "methods: it is empty"),
        ("api.example.com", &["*"], &[], "paths: it is empty"),
        ("api.example.com", &["*"], &[""], "paths[0]: it is empty"),
        ("api.*.com", &["*"], &["*"], "host: \"api.*.com\" has a *"),
        ("*example.com", &["*"], &["*"], "has a *"),
        ("*.*.com", &["*"], &["*"], "has a *"),
        ("https://api.example.com", &["*"], &["*"], "host: "),
        ("api.example.com:443", &["*"], &["*"], "host: "),
        ("localhost", &["*"], &["*"], "one label"),
        ("10.0.0.1/8", &["*"], &["*"], "the network is 10.0.0.0/8"),
        ("api.example.com", &["GET", "*"], &["*"], "methods: \"*\""),
        ("api.example.com", &["get"], &["*"], "methods: \"get\""),
        (
            "api.example.com",
            &["*"],
            &["/a", "/b*"],
            "paths[1]: \"/b*\" has a *",
        ),
        (
            "api.example.com",
            &["*"],
            &["/a/../b"],
            "paths[0]: the path has the segment",
        ),
        (
            "api.example.com",
            &["*"],
            &["/a?b"],
            "paths[0]: \"/a?b\" has a ?",
        ),
        (
            "api.example.com",
            &["*"],
            &["a"],
            "does not begin with a slash",
        ),
    ] {
        let told = parsed(host, methods, paths).unwrap_err();
        assert!(told.contains(part), "{told:?} lacks {part:?}");
    }
    let many = vec!["/a"; 33];
    let told = parsed("api.example.com", &["*"], &many).unwrap_err();
    assert_eq!(told, "paths has 33 entries, and 32 are allowed");
}

#[test]
fn a_ceiling_may_be_written_in_more_rules_or_in_fewer() {
    let asked = with_ports(
        "api.example.com",
        &[443, 8443],
        &["GET", "POST"],
        &["/v1/a", "/v2/*"],
    );
    let wide = with_ports("*.example.com", &[443, 8443], &["*"], &["*"]);
    assert!(asked.is_within(&[wide]));
    let pieces = [
        with_ports("api.example.com", &[443], &["GET"], &["*"]),
        with_ports("*", &[443], &["POST"], &["/v1/*", "/v2/*"]),
        with_ports("api.example.com", &[8443], &["*"], &["/*"]),
    ];
    assert!(asked.is_within(&pieces));
    for lacking in 0..pieces.len() {
        let mut some = pieces.to_vec();
        some.remove(lacking);
        assert!(!asked.is_within(&some), "without {}", pieces[lacking]);
    }
    assert!(!asked.is_within(&[]));
    assert!(!in_clear("api.example.com").is_within(&pieces));
    assert!(!rule("9.9.9.9", &["GET"], &["/"]).is_within(&[rule("*", &["*"], &["*"])]));
    assert!(rule("9.9.9.9", &["GET"], &["/"]).is_within(&[rule("9.0.0.0/8", &["*"], &["*"])]));
}

#[test]
fn only_one_host_over_tls_is_an_origin_for_a_key() {
    assert!(rule("api.example.com", &["*"], &["*"]).is_one_origin());
    assert!(!rule("*.example.com", &["*"], &["*"]).is_one_origin());
    assert!(!rule("*", &["*"], &["*"]).is_one_origin());
    assert!(!rule("9.9.9.9", &["*"], &["*"]).is_one_origin());
    assert!(!in_clear("api.example.com").is_one_origin());
}
