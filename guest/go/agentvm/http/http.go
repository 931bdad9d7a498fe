// Package http is imported for its effect: every http.Client that names no transport of its own
// makes its requests through the AgentVM that the program runs in.
//
//	import _ "agentvm.example/agentvm/http"
//
// http.DefaultTransport stays the *http.Transport that libraries take it for; the requests that it
// is given go another way. Those of its clones do not: give them an agentvm.Transport.
//
// Outside of an AgentVM nothing changes.
package http
