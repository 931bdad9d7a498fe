// go-requests is an ordinary program with net/http. It prints what it finds, a line for each thing
// that is tried; with an argument it tries that alone.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"agentvm.example/agentvm"
	_ "agentvm.example/agentvm/http"
)

const host = "http://api.example"

var tries = []struct {
	name string
	try  func() (string, error)
}{
	{"get", get},
	{"post", post},
	{"crowd", crowd},
	{"redirect", redirect},
	{"trailers", trailers},
	{"deadline", deadline},
	{"timeout", timeout},
	{"cancel", cancel},
	{"much", much},
	{"bodies", bodies},
	{"refused", refused},
	{"many", many},
	{"reuse", reuse},
	{"library", library},
}

func main() {
	for _, one := range tries {
		if len(os.Args) > 1 && os.Args[1] != one.name {
			continue
		}
		found, err := one.try()
		if err != nil {
			found = fmt.Sprintf("%s denied=%v", err, errors.Is(err, agentvm.ErrDenied))
		}
		fmt.Println(one.name, found)
	}
}

func text(response *http.Response, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return fmt.Sprint(response.StatusCode, " ", string(body)), err
}

func get() (string, error) {
	response, err := http.Get(host + "/hello?x=1")
	found, err := text(response, err)
	if err == nil {
		found += " " + response.Header.Get("X-Upstream") + " " + response.Header.Get("Connection")
	}
	return found, err
}

func post() (string, error) {
	response, err := http.Post(host+"/echo", "text/plain", strings.NewReader("what was sent"))
	return text(response, err)
}

// crowd streams through six requests at once while another goroutine runs on.
func crowd() (string, error) {
	ticks, done := 0, make(chan bool)
	ticked := make(chan bool)
	go func() {
		defer close(ticked)
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
				ticks++
			}
		}
	}()
	var all sync.WaitGroup
	same := make([]bool, 6)
	for index := range same {
		all.Add(1)
		go func() {
			defer all.Done()
			same[index] = streams(byte(index), 300_000)
		}()
	}
	all.Wait()
	close(done)
	<-ticked
	return fmt.Sprint(same, ticks > 0), nil
}

// streams sends a body of unknown length in pieces and compares what comes back.
func streams(seed byte, length int) bool {
	reader, writer := io.Pipe()
	sent := sha256.New()
	go func() {
		piece := bytes.Repeat([]byte{seed}, 10_000)
		for range length / len(piece) {
			sent.Write(piece)
			writer.Write(piece)
			time.Sleep(100 * time.Microsecond)
		}
		writer.Close()
	}()
	response, err := http.Post(host+"/echo", "application/octet-stream", reader)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	received := sha256.New()
	n, err := io.Copy(received, response.Body)
	return err == nil && n == int64(length) && bytes.Equal(sent.Sum(nil), received.Sum(nil))
}

func redirect() (string, error) {
	response, err := http.Get(host + "/redirect")
	found, err := text(response, err)
	if err == nil {
		found += " " + response.Request.URL.Path
	}
	return found, err
}

func trailers() (string, error) {
	response, err := http.Get(host + "/trailers")
	found, err := text(response, err)
	if err == nil {
		found += " " + response.Trailer.Get("X-Sum")
	}
	return found, err
}

// deadline is over before there is an answer.
func deadline() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, host+"/never", nil)
	if err != nil {
		return "", err
	}
	started := time.Now()
	_, err = http.DefaultClient.Do(request)
	return fmt.Sprint(errors.Is(err, context.DeadlineExceeded), time.Since(started) < time.Second), nil
}

// timeout is over while a body stalls.
func timeout() (string, error) {
	client := &http.Client{Timeout: 50 * time.Millisecond}
	response, err := client.Get(host + "/stalls")
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	var timeout net.Error
	return fmt.Sprint(string(body), " ", errors.As(err, &timeout) && timeout.Timeout()), nil
}

// cancel ends a request whose body is still being sent.
func cancel() (string, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reader, writer := io.Pipe()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, host+"/never", reader)
	if err != nil {
		return "", err
	}
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err = http.DefaultClient.Do(request)
	_, closed := writer.Write([]byte("more"))
	return fmt.Sprint(errors.Is(err, context.Canceled), closed != nil), nil
}

// much reads a part of a body without an end.
func much() (string, error) {
	response, err := http.Get(host + "/endless")
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	n, err := io.CopyN(io.Discard, response.Body, 10<<20)
	return fmt.Sprint(n), err
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("no more paper") }

// bodies are not what they say, or can't be read.
func bodies() (string, error) {
	short, err := http.NewRequest(http.MethodPost, host+"/echo", io.NopCloser(strings.NewReader("short")))
	if err != nil {
		return "", err
	}
	short.ContentLength = 10
	_, wrong := text(http.DefaultClient.Do(short))
	_, unread := text(http.Post(host+"/echo", "text/plain", io.MultiReader(strings.NewReader("x"), failing{})))
	return fmt.Sprint(wrong != nil, " ", unread != nil && strings.Contains(unread.Error(), "no more paper")), nil
}

// refused are requests that are none, or that pretend.
func refused() (string, error) {
	var found []string
	for _, change := range []func(*http.Request){
		func(r *http.Request) { r.Host = "other.example" },
		func(r *http.Request) { r.Header["X"] = []string{"a\nhost: other.example"} },
		func(r *http.Request) { r.Header["Agentvm-Vm"] = []string{"other"} },
		func(r *http.Request) { r.Method = "G\nET" },
		func(r *http.Request) { r.URL.Scheme = "ftp" },
		func(r *http.Request) { r.Header["X"] = make([]string, 101) },
		func(r *http.Request) { r.Header.Set("Connection", "close"); r.Header.Set("Expect", "x") },
	} {
		request, err := http.NewRequest(http.MethodGet, host+"/hello", nil)
		if err != nil {
			return "", err
		}
		change(request)
		_, err = text((&agentvm.Transport{}).RoundTrip(request))
		var failure *agentvm.Error
		switch {
		case errors.As(err, &failure):
			found = append(found, failure.Code)
		case err != nil:
			found = append(found, "error")
		default:
			found = append(found, "sent")
		}
	}
	return strings.Join(found, " "), nil
}

// many holds more requests than may be in flight.
func many() (string, error) {
	var open []io.Closer
	defer func() {
		for _, body := range open {
			body.Close()
		}
	}()
	for range 100 {
		response, err := http.Get(host + "/stalls")
		if errors.Is(err, agentvm.ErrTooMany) {
			return fmt.Sprint(len(open)), nil
		}
		if err != nil {
			return "", err
		}
		open = append(open, response.Body)
	}
	return "no end", nil
}

// reuse makes many requests one after the other, and closes none whose body it has read.
func reuse() (string, error) {
	for range 200 {
		response, err := http.Get(host + "/hello")
		if err != nil {
			return "", err
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return "", err
		}
	}
	return "200", nil
}

// library takes the default transport for what it always was, as some libraries do.
func library() (string, error) {
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return "other", nil
	}
	client := &http.Client{Transport: transport}
	response, err := client.Get("https://api.example/hello")
	return text(response, err)
}
