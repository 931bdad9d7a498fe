//! The one form of a request, and everything that has none.

use agentvm_policy::egress::{Host, Request, Target};

fn url(url: &str) -> Result<String, String> {
    Request::of_url("GET", url)
        .map(|request| {
            let host = request.host.to_string();
            format!(
                "{} {host} {} {}",
                request.scheme, request.port, request.target
            )
        })
        .map_err(|error| error.to_string())
}

fn refused(urls: &[&str]) {
    for text in urls {
        assert!(url(text).is_err(), "{text:?} was read as {:?}", url(text));
    }
}

#[test]
fn what_means_the_same_has_one_form() {
    for (scheme, rest, form) in [
        ("https", "api.example.com", "https api.example.com 443 /"),
        ("https", "API.Example.COM/", "https api.example.com 443 /"),
        (
            "https",
            "api.example.com./a",
            "https api.example.com 443 /a",
        ),
        (
            "https",
            "api.example.com:443/a",
            "https api.example.com 443 /a",
        ),
        (
            "https",
            "api.example.com:8443/a",
            "https api.example.com 8443 /a",
        ),
        ("http", "api.example.com/a?", "http api.example.com 80 /a?"),
        (
            "https",
            "api.example.com?q=1",
            "https api.example.com 443 /?q=1",
        ),
        (
            "https",
            "api.example.com/%61%2D%7e",
            "https api.example.com 443 /a-~",
        ),
        (
            "https",
            "api.example.com/%e2%82%ac",
            "https api.example.com 443 /%E2%82%AC",
        ),
        (
            "https",
            "api.example.com/a%20b",
            "https api.example.com 443 /a%20b",
        ),
        (
            "https",
            "api.example.com/a/",
            "https api.example.com 443 /a/",
        ),
        (
            "https",
            "api.example.com/a;v=1/b",
            "https api.example.com 443 /a;v=1/b",
        ),
        (
            "https",
            "api.example.com/a?b=../%2e&c=%",
            "https api.example.com 443 /a?b=../%2e&c=%",
        ),
        (
            "https",
            "xn--bcher-kva.example/",
            "https xn--bcher-kva.example 443 /",
        ),
        ("https", "9.9.9.9/", "https 9.9.9.9 443 /"),
        (
            "https",
            "[2606:4700:0:0::1111]:853/",
            "https [2606:4700::1111] 853 /",
        ),
    ] {
        let text = format!("{scheme}://{rest}");
        assert_eq!(url(&text).as_deref(), Ok(form), "{text}");
    }
}

#[test]
fn f03_an_ipv4_address_in_any_other_spelling_is_no_host() {
    for host in [
        "2852039166",
        "0xA9FEA9FE",
        "0xa9.0xfe.0xa9.0xfe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "169.16689662",
        "127.1",
        "127.0.1",
        "0",
        "0x7f.1",
        "017700000001",
        "00000177.0.0.1",
        "127.0.0.01",
        "127.0.0.1.",
        "1.2.3.4.5",
        "1.2.3",
        "1.2.3.256",
        "1.2.3.0x4",
        "a.0x",
        "a.1",
        "①②⑦.0.0.1",
        "127。0。0。1",
        "127%2e0.0.1",
        "1.2.3.4a5.6",
        "+1.2.3.4",
        "-1.2.3.4",
        "1..2.3",
        "1.2.3.4/8",
        "1.2.3.4 ",
        " 1.2.3.4",
        "0x",
        "0x.0x",
        "4294967295",
        "4294967296",
        "0.0",
        "0x0.0x0.0x0.0x0",
        "169.254.169.254:80:81",
        "[127.0.0.1]",
    ] {
        assert!(
            Host::parse(host).is_err(),
            "{host} was read as {:?}",
            Host::parse(host)
        );
    }
}

#[test]
fn f04_an_ipv6_address_has_brackets_no_zone_and_nothing_around_it() {
    for host in [
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "[::1",
        "::1",
        "[::1]x",
        "[]",
        "[:]",
        "[::g]",
        "[1:2:3:4:5:6:7]",
        "[1:2:3:4:5:6:7:8:9]",
        "[::ffff:1.2.3]",
        "[::ffff:0x7f000001]",
        "[[::1]]",
        "[::1]]",
        "[ ::1]",
        "[v1.fe80::a]",
    ] {
        assert!(Host::parse(host).is_err(), "{host}");
    }
    assert_eq!(Host::parse("[0:0::1]").unwrap().to_string(), "[::1]");
}

#[test]
fn f09_an_authority_has_no_user_and_ends_where_every_parser_ends_it() {
    refused(&[
        "http://allowed.example@evil.example/",
        "http://evil.example#@allowed.example",
        "http://allowed.example\\@evil.example",
        "http://allowed.example\\.evil.example/",
        "http://allowed.example:80:81@evil.example",
        "http://allowed.example:80@evil.example:80",
        "http://user:pass@allowed.example",
        "http://@allowed.example",
        "http://allowed.example%40evil.com/",
        "http://allowed.example%2fevil.com/",
        "http:///allowed.example/",
        "http://",
        "http:allowed.example",
        "//allowed.example/",
        "allowed.example/",
        "ftp://allowed.example/",
        "HTTP://allowed.example/",
        "file:///etc/passwd",
        "javascript://allowed.example/%0aalert(1)",
    ]);
}

#[test]
fn f11_no_part_of_a_request_has_a_character_that_ends_it_early() {
    for odd in [
        "\r", "\n", "\0", "\t", " ", "\u{b}", "\u{7f}", "\u{85}", "\u{a0}", "\u{2028}", "é",
        "\u{feff}",
    ] {
        for (authority, target) in [
            (format!("api{odd}.example.com"), "/".to_owned()),
            (format!("api.example.com{odd}"), "/".to_owned()),
            (format!("{odd}api.example.com"), "/".to_owned()),
            (format!("api.example.com:80{odd}"), "/".to_owned()),
            ("api.example.com".to_owned(), format!("/a{odd}b")),
            ("api.example.com".to_owned(), format!("/a?b{odd}")),
            ("api.example.com".to_owned(), format!("{odd}/a")),
        ] {
            let request = Request::parse("GET", "https", &authority, &target);
            assert!(request.is_err(), "{authority:?} {target:?}");
        }
        let method = format!("GET{odd}");
        assert!(Request::parse(&method, "https", "api.example.com", "/").is_err());
    }
}

#[test]
fn f12_a_port_is_plain_digits_from_1_to_65535() {
    for port in [
        "0",
        "00",
        "65536",
        "080",
        "+80",
        "-1",
        " 80",
        "80 ",
        "",
        "8 0",
        "0x50",
        "八十",
        "1e2",
        "80.",
        "443443443443443443443",
    ] {
        refused(&[&format!("https://api.example.com:{port}/")]);
    }
    assert!(url("https://api.example.com:65535/").is_ok());
    assert!(url("https://api.example.com:1/").is_ok());
}

#[test]
fn f13_a_name_is_letters_digits_hyphens_and_dots_in_full() {
    let long_label = format!("{}.com", "a".repeat(64));
    let long_name = format!("{}com", "a.".repeat(126));
    for host in [
        "",
        ".",
        "..",
        "com",
        "localhost",
        "api..example.com",
        ".example.com",
        "api.example.com..",
        "%61pi.example.com",
        "api_v1.example.com",
        "-api.example.com",
        "api-.example.com",
        "*.example.com",
        "api.exаmple.com",
        "api。example。com",
        "api.example.com\u{200b}",
        "ⓐpi.example.com",
        "api.example.com:",
        "api,example.com",
        "api.example.com;",
        "api!.com",
        "api(1).com",
        "api$.com",
        &long_label,
        &long_name,
    ] {
        assert!(
            Host::parse(host).is_err(),
            "{host} was read as {:?}",
            Host::parse(host)
        );
    }
    for host in [
        "a.b",
        "r3---sn-x.example.com",
        "1a.example.com",
        "3.14.example.com",
    ] {
        assert!(Host::parse(host).is_ok(), "{host}");
    }
    let longest = format!("{}.com", "a".repeat(63));
    assert!(Host::parse(&longest).is_ok());
}

#[test]
fn f14_a_path_that_servers_read_differently_is_refused() {
    for path in [
        "",
        "*",
        "a",
        "//",
        "//a",
        "/v1//admin",
        "/v1/../admin",
        "/v1/./a",
        "/.",
        "/..",
        "/../..",
        "/v1/%2e%2e/admin",
        "/v1/%2E",
        "/v1/.%2e/x",
        "/v1/a%2ejson",
        "/v1/%252e%252e/admin",
        "/v1/%252f",
        "/v1/%25%32%65",
        "/v1/..;/admin",
        "/v1/.;x/admin",
        "/v1/;/admin",
        "/v1/..%3b/x",
        "/v1\\admin",
        "/v1/%5cadmin",
        "/v1/%5C..",
        "/v1/%2fadmin",
        "/v1%2Fadmin",
        "/v1/%00",
        "/v1/%0a",
        "/v1/%0D%0AHost:x",
        "/v1/%7f",
        "/v1/%",
        "/v1/%4",
        "/v1/%zz",
        "/v1/%u002e",
        "/v1/%c0%ae",
        "/v1/%c0%af",
        "/v1/%e0%80%af",
        "/v1/%ff",
        "/v1/%ef%bc%8f",
        "/v1/%ef%bc%8e%ef%bc%8e",
        "/v1/%e2%88%95x",
        "/v1#x",
        "/v1<x",
        "/v1`x",
        "/v1\"x",
        "http://api.example.com/v1",
        "https://api.example.com",
        "/v1/é",
    ] {
        assert!(
            Target::parse(path).is_err(),
            "{path} was read as {:?}",
            Target::parse(path)
        );
    }
    for path in [
        "/V1",
        "/v1/.well-known/x",
        "/v1/..a",
        "/v1/a..b",
        "/v1/...",
        "/a%25b",
        "/a%25zz",
    ] {
        assert!(Target::parse(path).is_ok(), "{path}");
    }
}

#[test]
fn f14_a_method_is_one_of_the_list_in_capitals() {
    for method in [
        "get", "Get", "GET ", " GET", "", "CONNECT", "TRACE", "TRACK", "PROPFIND", "PRI", "GETX",
        "GET\r\n", "*", "QUERY", "PURGE",
    ] {
        let request = Request::parse(method, "https", "api.example.com", "/");
        assert!(request.is_err(), "{method:?}");
    }
}

#[test]
fn f29_a_long_path_or_query_is_refused_and_its_message_is_short() {
    let fits = format!("/?{}", "q".repeat((8 << 10) - 2));
    assert!(Target::parse(&fits).is_ok());
    for target in [
        format!("{fits}q"),
        format!("/{}", "a".repeat(1 << 20)),
        "&a=b".repeat(100_000),
    ] {
        let error = Target::parse(&target).unwrap_err().to_string();
        assert!(error.len() < 200, "{error}");
    }
    let host = "x".repeat(1 << 20);
    let error = url(&format!("https://{host}/")).unwrap_err();
    assert!(error.len() < 400, "{error}");
}

#[test]
fn h04_what_is_shown_of_a_request_has_no_query() {
    let request = Request::of_url("GET", "https://api.example.com/a?key=CANARY").unwrap();
    assert_eq!(request.to_string(), "GET https://api.example.com/a");
}
