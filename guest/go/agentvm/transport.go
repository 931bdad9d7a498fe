package agentvm

import "net/http"

// Transport makes requests through the AgentVM that the program runs in. Its zero value is ready;
// any number of goroutines may use it at once.
//
// It streams the bodies of requests and answers, and honours the context of a request from its
// start until the body of its answer is closed. It follows no redirects (http.Client does), knows
// no proxies, and asks for no compression. What a header would say of the connection, such as
// Connection or Expect, is not sent.
type Transport struct{}

var _ http.RoundTripper = (*Transport)(nil)

// RoundTrip sends one request and returns its answer, whose body is still to be read and has to be
// closed. Failures are an [*Error], or the error of the request's context.
func (*Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	return roundTrip(request)
}
