//! Which addresses stay closed, whatever a rule allows.

use std::net::{IpAddr, SocketAddr};

use agentvm_policy::egress::{AddressClass, AddressRules, Cidr, Exception};

fn socket(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse::<IpAddr>().unwrap(), 443)
}

fn class(address: &str) -> Option<AddressClass> {
    AddressRules::default().admit(socket(address)).err()
}

fn network(text: &str) -> Cidr {
    text.parse().unwrap()
}

#[test]
fn f02_metadata_services_are_closed() {
    for address in [
        "169.254.169.254",
        "169.254.0.0",
        "169.254.255.255",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::1",
        "febf:ffff::1",
    ] {
        assert_eq!(class(address), Some(AddressClass::Metadata), "{address}");
    }
}

#[test]
fn f04_an_ipv4_address_inside_an_ipv6_one_is_closed() {
    for address in [
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "::169.254.169.254",
        "::ffff:0:a9fe:a9fe",
        "::ffff:8.8.8.8",
        "::8.8.8.8",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:a9fe:a9fe::",
        "2002:808:808::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "192.88.99.1",
    ] {
        assert_eq!(class(address), Some(AddressClass::Embedded), "{address}");
    }
}

#[test]
fn f05_every_special_range_is_closed_to_its_last_address_and_no_further() {
    use AddressClass::{Loopback, Private, Reserved};
    for (first, last, closed) in [
        ("0.0.0.0", "0.255.255.255", Reserved),
        ("10.0.0.0", "10.255.255.255", Private),
        ("100.64.0.0", "100.127.255.255", Private),
        ("127.0.0.0", "127.255.255.255", Loopback),
        ("172.16.0.0", "172.31.255.255", Private),
        ("192.0.0.0", "192.0.0.255", Reserved),
        ("192.0.2.0", "192.0.2.255", Reserved),
        ("192.168.0.0", "192.168.255.255", Private),
        ("198.18.0.0", "198.19.255.255", Reserved),
        ("198.51.100.0", "198.51.100.255", Reserved),
        ("203.0.113.0", "203.0.113.255", Reserved),
        ("224.0.0.0", "239.255.255.255", Reserved),
        ("240.0.0.0", "255.255.255.255", Reserved),
        (
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            Reserved,
        ),
        ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Private),
        (
            "fec0::",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Reserved,
        ),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
        (
            "4000::",
            "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Reserved,
        ),
    ] {
        assert_eq!(class(first), Some(closed), "{first}");
        assert_eq!(class(last), Some(closed), "{last}");
    }
    assert_eq!(class("::1"), Some(Loopback));
    assert_eq!(class("::"), Some(Reserved));
    for open in [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "2000::1",
        "2606:4700::1111",
        "2001:200::1",
        "2001:db7:ffff::1",
        "2001:db9::1",
        "3ffe:ffff::1",
        "3fff:1000::1",
    ] {
        assert_eq!(class(open), None, "{open}");
    }
}

#[test]
fn f15_the_clusters_addresses_are_closed_though_they_may_be_public() {
    let rules = AddressRules {
        cluster: vec![
            network("34.118.224.0/20"),
            network("10.96.0.0/12"),
            network("2600:1900::/64"),
        ],
        ..AddressRules::default()
    };
    for address in [
        "34.118.224.1",
        "34.118.239.255",
        "10.96.0.1",
        "2600:1900::7",
    ] {
        assert_eq!(
            rules.admit(socket(address)),
            Err(AddressClass::Cluster),
            "{address}"
        );
    }
    assert!(rules.admit(socket("34.118.240.0")).is_ok());
}

#[test]
fn f16_our_own_listeners_are_closed_even_where_their_network_is_opened() {
    let rules = AddressRules {
        own: vec![
            "10.1.2.3:9810".parse().unwrap(),
            "203.0.114.9:443".parse().unwrap(),
        ],
        exceptions: vec![Exception::new(network("10.1.0.0/16")).unwrap()],
        ..AddressRules::default()
    };
    assert_eq!(
        rules.admit("10.1.2.3:9810".parse().unwrap()),
        Err(AddressClass::Own)
    );
    assert_eq!(
        rules.admit("203.0.114.9:443".parse().unwrap()),
        Err(AddressClass::Own)
    );
    assert!(rules.admit("10.1.2.3:443".parse().unwrap()).is_ok());
}

#[test]
fn an_exception_opens_its_own_network_and_nothing_else() {
    let rules = AddressRules {
        cluster: vec![network("10.96.0.0/12")],
        exceptions: vec![Exception::new(network("10.96.7.0/24")).unwrap()],
        ..AddressRules::default()
    };
    let admitted = rules.admit(socket("10.96.7.9")).unwrap();
    assert_eq!(admitted.address(), socket("10.96.7.9"));
    assert_eq!(rules.admit(socket("10.96.8.0")), Err(AddressClass::Cluster));
    assert_eq!(rules.admit(socket("10.1.1.1")), Err(AddressClass::Private));
}

#[test]
fn f02_what_is_never_opened_can_not_be_excepted_nor_hidden_in_a_wide_network() {
    for wide in [
        "0.0.0.0/0",
        "::/0",
        "169.254.169.254",
        "169.254.0.0/16",
        "127.0.0.0/8",
        "127.0.0.1",
        "::1",
        "224.0.0.0/4",
        "fe80::/10",
        "64:ff9b::/96",
        "8.8.8.8",
        "10.0.0.0/7",
        "192.0.0.0/8",
        "0.0.0.0/1",
    ] {
        let refused = Exception::new(network(wide)).unwrap_err().to_string();
        assert!(refused.contains(wide), "{refused}");
    }
    let alibaba = AddressRules {
        exceptions: vec![Exception::new(network("100.64.0.0/10")).unwrap()],
        ..AddressRules::default()
    };
    assert_eq!(
        alibaba.admit(socket("100.100.100.200")),
        Err(AddressClass::Metadata)
    );
    let aws = AddressRules {
        exceptions: vec![Exception::new(network("fc00::/7")).unwrap()],
        ..AddressRules::default()
    };
    assert_eq!(
        aws.admit(socket("fd00:ec2::254")),
        Err(AddressClass::Metadata)
    );
}

#[test]
fn a_network_is_written_in_one_way() {
    for text in [
        "",
        "10",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/08",
        "10.0.0.0/+8",
        "10.0.0.1/8",
        "10.0.0/8",
        "010.0.0.0/8",
        "::/129",
        "[::]/0",
        "fe80::1%eth0/64",
        "fe80::1/64",
        "10.0.0.0/8/8",
        " 10.0.0.0/8",
        "1.2.3.4/999",
    ] {
        assert!(text.parse::<Cidr>().is_err(), "{text}");
    }
    for text in [
        "10.0.0.0/8",
        "0.0.0.0/0",
        "1.2.3.4",
        "::/0",
        "fd00::/8",
        "2606:4700::1111",
    ] {
        assert_eq!(network(text).to_string(), text);
    }
    let told = "10.9.8.7/8".parse::<Cidr>().unwrap_err().to_string();
    assert!(told.ends_with("the network is 10.0.0.0/8"), "{told}");
}
