package http

import (
	"net/http"

	"agentvm.example/agentvm"
)

func init() {
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		http.DefaultTransport = &agentvm.Transport{}
		return
	}
	// Otherwise it would enable HTTP/2 for connections that it never makes, and find its place taken.
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP1(true)
	for _, scheme := range []string{"http", "https"} {
		transport.RegisterProtocol(scheme, &agentvm.Transport{})
	}
}
