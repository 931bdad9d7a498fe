//! What leaves the cell of a guest's request, and what comes back that is no answer of a host's.

use agentvm_cell_api::gateway::{ERROR_HEADER, VM_HEADER};
use agentvm_policy::budget;
use agentvm_policy::egress::{Code, Method};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};

use crate::guards::{Guard, is_on};

/// What begins the names of headers between a cell and the gateway.
const OWN_PREFIX: &str = "agentvm-";

/// The request as it is sent, in the name of `vm`.
///
/// # Errors
///
/// Where it would not get through: too much in its headers, or a method that is no request.
pub(super) fn of_request<B>(mut request: Request<B>, vm: &HeaderValue) -> Result<Request<B>, Code> {
    if Method::parse(request.method().as_str()).is_none() {
        return Err(Code::RequestInvalid);
    }
    bounded(&request)?;
    let headers = request.headers_mut();
    if is_on(Guard::OwnHeaders) {
        remove_own(headers);
    }
    headers.append(HeaderName::from_static(VM_HEADER), vm.clone());
    Ok(request)
}

/// The answer of a host as it is handed on.
///
/// # Errors
///
/// What the gateway says where there is none.
pub(super) fn of_answer<B>(mut answer: Response<B>) -> Result<Response<B>, Code> {
    if let Some(name) = answer.headers().get(ERROR_HEADER) {
        let code = name.to_str().ok().and_then(Code::parse);
        return Err(code.unwrap_or(Code::Internal));
    }
    remove_own(answer.headers_mut());
    Ok(answer)
}

fn bounded<B>(request: &Request<B>) -> Result<(), Code> {
    let headers = request.headers();
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if headers.len() > budget::HEADERS.usize() || bytes > budget::HEADER_BYTES.usize() {
        return Err(Code::RequestHeaderSize);
    }
    let uri = request.uri();
    let target = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let authority = uri
        .authority()
        .map_or(0, |authority| authority.as_str().len());
    if target > budget::TARGET_BYTES.usize() || authority > budget::AUTHORITY_CHARS.usize() {
        return Err(Code::RequestInvalid);
    }
    Ok(())
}

pub(super) fn remove_own(headers: &mut HeaderMap) {
    let own: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(OWN_PREFIX))
        .cloned()
        .collect();
    for name in own {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::switch_off;

    fn request(headers: &[(&'static str, &str)]) -> Request<()> {
        let mut request = Request::get("https://api.example.com/v1").body(()).unwrap();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).unwrap();
            request.headers_mut().append(*name, value);
        }
        request
    }

    fn sent_for(request: Request<()>) -> Vec<String> {
        let vm = HeaderValue::from_static("u-1");
        let sent = of_request(request, &vm).unwrap();
        let all = sent.headers().get_all(VM_HEADER).iter();
        all.map(|value| value.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn h_a_guest_that_names_another_vm_speaks_for_itself() {
        let forged = || request(&[("agentvm-vm", "u-2"), ("Agentvm-Vm", "u-3")]);
        assert_eq!(sent_for(forged()), ["u-1"]);
        let unguarded = switch_off(Guard::OwnHeaders, || sent_for(forged()));
        assert_eq!(unguarded, ["u-2", "u-3", "u-1"]);
    }

    #[test]
    fn whatever_begins_like_our_own_headers_is_taken_away() {
        let given = request(&[("agentvm-error", "internal-error"), ("accept", "*/*")]);
        let sent = of_request(given, &HeaderValue::from_static("u-1")).unwrap();
        assert!(!sent.headers().contains_key(ERROR_HEADER));
        assert_eq!(sent.headers()["accept"], "*/*");
    }

    #[test]
    fn what_would_not_get_through_is_refused_here() {
        let vm = HeaderValue::from_static("u-1");
        let long = "x".repeat(budget::HEADER_BYTES.usize());
        let refused = of_request(request(&[("x-heron", &long)]), &vm);
        assert_eq!(refused.unwrap_err(), Code::RequestHeaderSize);
        let many: Vec<_> = (0..=budget::HEADERS.value)
            .map(|_| ("x-heron", "1"))
            .collect();
        let refused = of_request(request(&many), &vm);
        assert_eq!(refused.unwrap_err(), Code::RequestHeaderSize);
        for method in ["CONNECT", "TRACE", "get", "PROPFIND"] {
            let mut odd = request(&[]);
            *odd.method_mut() = method.parse().unwrap();
            assert_eq!(of_request(odd, &vm).unwrap_err(), Code::RequestInvalid);
        }
        let long = format!("https://api.example.com/{}", "x".repeat(9_000));
        let long = Request::get(long).body(()).unwrap();
        assert_eq!(of_request(long, &vm).unwrap_err(), Code::RequestInvalid);
    }

    #[test]
    fn an_answer_of_the_gateways_own_is_its_code() {
        let answer = |name: &str| {
            let answer = Response::builder().header(ERROR_HEADER, name);
            of_answer(answer.body(()).unwrap()).unwrap_err()
        };
        for code in Code::ALL {
            assert_eq!(answer(code.as_str()), code);
        }
        assert_eq!(answer("something-else"), Code::Internal);
        assert!(of_answer(Response::new(())).is_ok());
    }
}
