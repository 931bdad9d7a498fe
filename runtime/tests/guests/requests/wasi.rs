//! `wasi:http` as the text of a component imports it, and a component that does.

use std::fmt::Write as _;

use crate::components::component;
use crate::harness::Guest;

const POLL: &str = "(import \"wasi:io/poll@0.2.0\" (instance $poll
      (export \"pollable\" (type (sub resource)))
      (export \"[method]pollable.block\" (func (param \"self\" (borrow 0))))))
    (alias export $poll \"pollable\" (type $pollable))";

const TYPES: &str = "(import \"wasi:http/types@0.2.3\" (instance $types
      (alias outer 1 $pollable (type $p))
      (export \"pollable\" (type $pollable (eq $p)))
      (export \"fields\" (type $fields (sub resource)))
      (type $he (variant (case \"invalid-syntax\") (case \"forbidden\") (case \"immutable\")))
      (export \"header-error\" (type $header-error (eq $he)))
      (type $dp (record (field \"rcode\" (option string)) (field \"info-code\" (option u16))))
      (export \"DNS-error-payload\" (type $dns (eq $dp)))
      (type $tp (record (field \"alert-id\" (option u8)) (field \"alert-message\" (option string))))
      (export \"TLS-alert-received-payload\" (type $tls (eq $tp)))
      (type $fp (record (field \"field-name\" (option string)) (field \"field-size\" (option u32))))
      (export \"field-size-payload\" (type $size (eq $fp)))
      (type $ec (variant (case \"DNS-timeout\") (case \"DNS-error\" $dns)
        (case \"destination-not-found\") (case \"destination-unavailable\")
        (case \"destination-IP-prohibited\") (case \"destination-IP-unroutable\")
        (case \"connection-refused\") (case \"connection-terminated\")
        (case \"connection-timeout\") (case \"connection-read-timeout\")
        (case \"connection-write-timeout\") (case \"connection-limit-reached\")
        (case \"TLS-protocol-error\") (case \"TLS-certificate-error\")
        (case \"TLS-alert-received\" $tls) (case \"HTTP-request-denied\")
        (case \"HTTP-request-length-required\") (case \"HTTP-request-body-size\" (option u64))
        (case \"HTTP-request-method-invalid\") (case \"HTTP-request-URI-invalid\")
        (case \"HTTP-request-URI-too-long\")
        (case \"HTTP-request-header-section-size\" (option u32))
        (case \"HTTP-request-header-size\" (option $size))
        (case \"HTTP-request-trailer-section-size\" (option u32))
        (case \"HTTP-request-trailer-size\" $size) (case \"HTTP-response-incomplete\")
        (case \"HTTP-response-header-section-size\" (option u32))
        (case \"HTTP-response-header-size\" $size)
        (case \"HTTP-response-body-size\" (option u64))
        (case \"HTTP-response-trailer-section-size\" (option u32))
        (case \"HTTP-response-trailer-size\" $size)
        (case \"HTTP-response-transfer-coding\" (option string))
        (case \"HTTP-response-content-coding\" (option string))
        (case \"HTTP-response-timeout\") (case \"HTTP-upgrade-failed\")
        (case \"HTTP-protocol-error\") (case \"loop-detected\") (case \"configuration-error\")
        (case \"internal-error\" (option string))))
      (export \"error-code\" (type $error-code (eq $ec)))
      (export \"outgoing-request\" (type $request (sub resource)))
      (export \"outgoing-response\" (type $made (sub resource)))
      (export \"outgoing-body\" (type $body (sub resource)))
      (export \"request-options\" (type $options (sub resource)))
      (export \"incoming-response\" (type $answer (sub resource)))
      (export \"future-incoming-response\" (type $waiting (sub resource)))
      (export \"[constructor]fields\" (func (result (own $fields))))
      (export \"[method]fields.append\" (func (param \"self\" (borrow $fields))
        (param \"name\" string) (param \"value\" (list u8)) (result (result (error $header-error)))))
      (export \"[method]fields.clone\" (func (param \"self\" (borrow $fields)) (result (own $fields))))
      (export \"[constructor]outgoing-request\" (func (param \"headers\" (own $fields))
        (result (own $request))))
      (export \"[constructor]outgoing-response\" (func (param \"headers\" (own $fields))
        (result (own $made))))
      (export \"[method]outgoing-request.set-authority\" (func (param \"self\" (borrow $request))
        (param \"authority\" (option string)) (result (result))))
      (export \"[method]outgoing-request.set-path-with-query\" (func
        (param \"self\" (borrow $request)) (param \"path-with-query\" (option string))
        (result (result))))
      (export \"[method]outgoing-request.body\" (func (param \"self\" (borrow $request))
        (result (result (own $body)))))
      (export \"[constructor]request-options\" (func (result (own $options))))
      (export \"[method]request-options.set-first-byte-timeout\" (func
        (param \"self\" (borrow $options)) (param \"duration\" (option u64)) (result (result))))
      (export \"[method]future-incoming-response.subscribe\" (func
        (param \"self\" (borrow $waiting)) (result (own $pollable))))
      (export \"[method]future-incoming-response.get\" (func (param \"self\" (borrow $waiting))
        (result (option (result (result (own $answer) (error $error-code)))))))
      (export \"[method]incoming-response.status\" (func (param \"self\" (borrow $answer))
        (result u16)))))
    (alias export $types \"outgoing-request\" (type $request))
    (alias export $types \"request-options\" (type $options))
    (alias export $types \"future-incoming-response\" (type $waiting))
    (alias export $types \"error-code\" (type $error))
    (import \"wasi:http/outgoing-handler@0.2.3\" (instance $handler
      (alias outer 1 $request (type $r))
      (export \"outgoing-request\" (type $request (eq $r)))
      (alias outer 1 $options (type $o))
      (export \"request-options\" (type $options (eq $o)))
      (alias outer 1 $waiting (type $w))
      (export \"future-incoming-response\" (type $waiting (eq $w)))
      (alias outer 1 $error (type $e))
      (export \"error-code\" (type $error-code (eq $e)))
      (export \"handle\" (func (param \"request\" (own $request))
        (param \"options\" (option (own $options)))
        (result (result (own $waiting) (error $error-code)))))))";

const LOWERED: [(&str, &str, &str); 14] = [
    (
        "fields",
        "(canon lower (func $types \"[constructor]fields\"))",
        "(result i32)",
    ),
    (
        "append",
        "(canon lower (func $types \"[method]fields.append\") (memory $memory))",
        "(param i32 i32 i32 i32 i32 i32)",
    ),
    (
        "clone",
        "(canon lower (func $types \"[method]fields.clone\"))",
        "(param i32) (result i32)",
    ),
    (
        "request",
        "(canon lower (func $types \"[constructor]outgoing-request\"))",
        "(param i32) (result i32)",
    ),
    (
        "made",
        "(canon lower (func $types \"[constructor]outgoing-response\"))",
        "(param i32) (result i32)",
    ),
    (
        "authority",
        "(canon lower (func $types \"[method]outgoing-request.set-authority\") (memory $memory))",
        "(param i32 i32 i32 i32) (result i32)",
    ),
    (
        "path",
        "(canon lower (func $types \"[method]outgoing-request.set-path-with-query\") (memory $memory))",
        "(param i32 i32 i32 i32) (result i32)",
    ),
    (
        "body",
        "(canon lower (func $types \"[method]outgoing-request.body\") (memory $memory))",
        "(param i32 i32)",
    ),
    (
        "options",
        "(canon lower (func $types \"[constructor]request-options\"))",
        "(result i32)",
    ),
    (
        "first_byte",
        "(canon lower (func $types \"[method]request-options.set-first-byte-timeout\"))",
        "(param i32 i32 i64) (result i32)",
    ),
    (
        "subscribe",
        "(canon lower (func $types \"[method]future-incoming-response.subscribe\"))",
        "(param i32) (result i32)",
    ),
    (
        "get",
        "(canon lower (func $types \"[method]future-incoming-response.get\") (memory $memory) (realloc $realloc))",
        "(param i32 i32)",
    ),
    (
        "handle",
        "(canon lower (func $handler \"handle\") (memory $memory) (realloc $realloc))",
        "(param i32 i32 i32 i32)",
    ),
    (
        "block",
        "(canon lower (func $poll \"[method]pollable.block\"))",
        "(param i32)",
    ),
];

/// What bodies exit by, with what they have found.
const EXIT: (&str, &str, &str) = (
    "exit",
    "(canon lower (func $exit \"exit-with-code\"))",
    "(param i32)",
);
const EXIT_TYPES: &str = "(import \"wasi:cli/exit@0.2.12\" (instance $exit
    (export \"exit-with-code\" (func (param \"status-code\" u8)))))";

/// A component whose `run` has `body`, after its locals and a semicolon; `api.example` lies at 512, `/never` at 544, a name at 576.
pub(super) fn guest(body: &str) -> Guest {
    let mut lowered = LOWERED.to_vec();
    lowered.push(EXIT);
    let mut texts = String::new();
    for (at, text) in [(512, "api.example"), (544, "/never"), (576, "x-name")] {
        texts += &stored(at, text);
    }
    let (locals, body) = body.split_once(';').unwrap_or(("", body));
    let body = format!("{locals} {texts} {body} (i32.const 0)");
    let text = component(&format!("{POLL}{TYPES}{EXIT_TYPES}"), &lowered, &body);
    Guest::wat(&text).limits(|limits| {
        limits.connections = 4;
        limits.memory_bytes = 2 << 20;
    })
}

/// Instructions that put `text` at `at`.
pub(super) fn stored(at: u32, text: &str) -> String {
    let mut code = String::new();
    for (byte, at) in text.bytes().zip(at..) {
        write!(code, "(i32.store8 (i32.const {at}) (i32.const {byte}))").unwrap();
    }
    code
}
