// Package agentvm lets Go programs in an AgentVM make HTTP requests with net/http:
//
//	client := &http.Client{Transport: &agentvm.Transport{}}
//
// Importing agentvm.example/agentvm/http for its effect does so for every client that names no
// transport of its own. Outside of an AgentVM, built for any other system than wasip1, the same
// program makes its requests as ever.
//
// Which requests are allowed says the manifest of the AgentVM. The others fail with [ErrDenied]:
//
//	if errors.Is(err, agentvm.ErrDenied) { ... }
package agentvm

import "strings"

// Error is why a request has no answer, or not the whole of one.
type Error struct {
	// Code is a name of wasi:http's error-code, such as "HTTP-request-denied".
	Code string
}

// ErrDenied is the failure of a request that no rule allows.
var ErrDenied = &Error{Code: "HTTP-request-denied"}

// ErrTooMany is the failure of a request while too many others are in flight.
var ErrTooMany = &Error{Code: "connection-limit-reached"}

// errInvalid is the failure of what is no request.
var errInvalid = &Error{Code: "HTTP-request-URI-invalid"}

// errHeaderSize is the failure of a request whose headers are too many or too long.
var errHeaderSize = &Error{Code: "HTTP-request-header-section-size"}

// errInternal is a failure of the host, which told nothing more.
var errInternal = &Error{Code: "internal-error"}

func (e *Error) Error() string { return "agentvm: " + e.Code }

// Is says whether target is the same failure.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Code == e.Code
}

// Timeout says whether something took too long; with it, an Error is a net.Error.
func (e *Error) Timeout() bool { return strings.HasSuffix(e.Code, "-timeout") }

// Temporary says whether the same request may succeed later.
func (e *Error) Temporary() bool {
	return e.Timeout() || e.Code == errInternal.Code || e.Code == ErrTooMany.Code
}
