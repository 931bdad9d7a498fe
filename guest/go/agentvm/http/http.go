// Package http is imported for its effect: every http.Client that names no transport of its own
// makes its requests through the AgentVM that the program runs in.
//
//	import _ "agentvm.example/agentvm/http"
//
// Outside of an AgentVM nothing changes.
package http

import (
	"net/http"

	"agentvm.example/agentvm"
)

func init() {
	http.DefaultTransport = &agentvm.Transport{}
}
