package agentvm

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"syscall"
)

func roundTrip(request *http.Request) (*http.Response, error) {
	response, err := send(request)
	if err != nil && request.Body != nil {
		// A transport closes the body, whatever happens.
		request.Body.Close()
	}
	return response, err
}

func send(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if request.URL == nil {
		return nil, errors.New("agentvm: the request has no URL")
	}
	if request.Host != "" && !strings.EqualFold(request.Host, request.URL.Host) {
		return nil, fmt.Errorf("agentvm: the request is for host %q and its URL is of %q", request.Host, request.URL.Host)
	}
	method := request.Method
	if method == "" {
		method = http.MethodGet
	}
	body := request.Body != nil && request.Body != http.NoBody
	url := request.URL.Scheme + "://" + request.URL.Host + request.URL.RequestURI()
	x, err := open(ctx, method, url, headerLines(request, body), body)
	if err != nil {
		return nil, err
	}
	if body {
		go upload(x, request)
	}
	told, err := x.head()
	if err != nil {
		x.close()
		return nil, err
	}
	response, err := parse(told)
	if err != nil {
		x.close()
		return nil, err
	}
	response.Request = request
	response.Body = &answerBody{x: x, response: response}
	return response, nil
}

// upload sends the body of a request. What fails in reading it fails the request; that the other
// side reads no further does not: the answer says why.
func upload(x *exchange, request *http.Request) {
	source := &source{reader: request.Body}
	_, err := io.Copy(writerOnly{x}, source)
	request.Body.Close()
	switch {
	case source.failed != nil:
		x.breakOff(source.failed)
	case err == nil:
		err = x.finish()
	}
	if errors.Is(err, syscall.EMSGSIZE) {
		x.breakOff(fmt.Errorf("agentvm: the body of the request has not the %d bytes of its ContentLength", request.ContentLength))
	}
}

// source remembers why reading failed, to tell it from why writing did.
type source struct {
	reader io.Reader
	failed error
}

func (s *source) Read(buffer []byte) (int, error) {
	n, err := s.reader.Read(buffer)
	if err != nil && err != io.EOF {
		s.failed = err
	}
	return n, err
}

// writerOnly hides whatever else can be done.
type writerOnly struct{ io.Writer }

// ofTheConnection are headers that speak of the connection, which is not the program's.
var ofTheConnection = map[string]bool{
	"Connection":          true,
	"Content-Length":      true, // said by ContentLength
	"Expect":              true,
	"Host":                true, // said by the URL
	"Http2-Settings":      true,
	"Keep-Alive":          true,
	"Proxy-Authenticate":  true,
	"Proxy-Authorization": true,
	"Proxy-Connection":    true,
	"Te":                  true,
	"Trailer":             true,
	"Transfer-Encoding":   true,
	"Upgrade":             true,
}

// headerLines are the headers of a request as the host takes them. A line feed in one of them, which
// would make two of it, makes it one that the host refuses.
func headerLines(request *http.Request, body bool) string {
	var lines strings.Builder
	line := func(name, value string) {
		lines.WriteString(strings.ReplaceAll(name, "\n", "\x00"))
		lines.WriteString(": ")
		lines.WriteString(strings.ReplaceAll(value, "\n", "\x00"))
		lines.WriteString("\n")
	}
	for name, values := range request.Header {
		if ofTheConnection[textproto.CanonicalMIMEHeaderKey(name)] {
			continue
		}
		for _, value := range values {
			line(name, value)
		}
	}
	if body && request.ContentLength > 0 {
		line("Content-Length", strconv.FormatInt(request.ContentLength, 10))
	}
	return lines.String()
}

// parse makes an answer of its status and headers as the host tells them.
func parse(told string) (*http.Response, error) {
	status, lines, _ := strings.Cut(told, "\n")
	code, err := strconv.Atoi(status)
	if err != nil {
		return nil, errInternal
	}
	response := &http.Response{
		Status:        strings.TrimSpace(status + " " + http.StatusText(code)),
		StatusCode:    code,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        parseLines(lines),
		ContentLength: -1,
	}
	if length := response.Header.Get("Content-Length"); length != "" {
		if n, err := strconv.ParseInt(length, 10, 64); err == nil {
			response.ContentLength = n
		}
	}
	return response, nil
}

func parseLines(lines string) http.Header {
	header := http.Header{}
	for line := range strings.Lines(lines) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if ok {
			header.Add(name, value)
		}
	}
	return header
}

// answerBody is the body of an answer. Its end fills in the trailers.
type answerBody struct {
	x        *exchange
	response *http.Response
	closed   bool
	over     error
}

func (b *answerBody) Read(buffer []byte) (int, error) {
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	if b.over != nil {
		return 0, b.over
	}
	n, err := b.x.Read(buffer)
	if err == io.EOF {
		if trailers := b.x.trailers(); trailers != "" {
			b.response.Trailer = parseLines(trailers)
		}
	}
	if err != nil {
		b.over = err
		b.x.close() // as net/http does: a program that reads to the end need not close
	}
	return n, err
}

func (b *answerBody) Close() error {
	b.closed = true
	return b.x.close()
}
