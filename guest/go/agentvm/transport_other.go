//go:build !wasip1

package agentvm

import "net/http"

// outside is how programs make requests that run in no AgentVM.
var outside = http.DefaultTransport

func roundTrip(request *http.Request) (*http.Response, error) {
	return outside.RoundTrip(request)
}
