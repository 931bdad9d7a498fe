// ask makes the requests that its arguments say, one after the other, and prints what became of
// each: the status and the body of an answer, or the code of the failure.
//
//	GET URL           one request; any method
//	HOLD URL          a request whose answer is read to its end
//	FORGE URL         a request in the name of another VM
//	RETRY URL         GET until it is answered: the gateway may be away, or know no rules yet
//	CROWD N URL       N at once
//	ABANDON N URL     N in crowds, each given up as soon as it is sent
//	PESTER N URL      POST of 64 KiB, N times, whatever the answer
//	BIG BYTES URL     POST of so many bytes
//	FEED N URL        N endless POSTs at once; says again and again how much was taken of them
//	DIAL ADDRESS      a connection without HTTP
//	LOOKUP NAME       the addresses of a name
//	SAY TEXT          nothing but the text
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"agentvm.example/agentvm"
)

var client = &http.Client{
	Transport: &agentvm.Transport{},
	// Redirects are shown.
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func main() {
	for _, line := range os.Args[1:] {
		words := strings.Fields(line)
		fmt.Printf("%s: %s\n", line, perform(words[0], words[1:]))
	}
}

func perform(what string, words []string) string {
	switch what {
	case "SAY":
		return "said"
	case "HOLD":
		fmt.Println("holding")
		return ask("GET", words[0], nil)
	case "FORGE":
		forge = true
		defer func() { forge = false }()
		return ask("GET", words[0], nil)
	case "RETRY":
		return retry(words[0])
	case "CROWD":
		return crowd(words[0], words[1])
	case "ABANDON":
		n, _ := strconv.Atoi(words[0])
		abandon(n, words[1])
		return "done"
	case "PESTER":
		n, _ := strconv.Atoi(words[0])
		for range n {
			ask("POST", words[1], io.LimitReader(endless{}, 64<<10))
		}
		return "done"
	case "BIG":
		bytes, _ := strconv.ParseInt(words[0], 10, 64)
		return ask("POST", words[1], io.LimitReader(endless{}, bytes))
	case "FEED":
		n, _ := strconv.Atoi(words[0])
		feed(n, words[1])
	case "DIAL":
		_, err := net.DialTimeout("tcp", words[0], time.Second)
		return code(err)
	case "LOOKUP":
		_, err := net.LookupHost(words[0])
		return code(err)
	}
	return ask(what, words[0], nil)
}

// forge has requests name another VM.
var forge = false

func ask(method, url string, body io.Reader) string {
	request, err := http.NewRequest(method, url, body)
	if err != nil {
		return "no request: " + err.Error()
	}
	// A key must take its place.
	request.Header.Set("Authorization", "guests own")
	if forge {
		request.Header.Set("Agentvm-Vm", "somebody else")
	}
	response, err := client.Do(request)
	if err != nil {
		return code(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Sprintf("%d, then %s", response.StatusCode, code(err))
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", response.StatusCode, response.Header.Get("Location"), text))
}

func retry(url string) string {
	for {
		answer := ask("GET", url, nil)
		if answer != "internal-error" && answer != agentvm.ErrDenied.Code {
			return answer
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func abandon(count int, url string) {
	for left := count; left > 0; left -= 30 {
		ctx, giveUp := context.WithCancel(context.Background())
		var all sync.WaitGroup
		for range min(left, 30) {
			all.Add(1)
			go func() {
				defer all.Done()
				request, _ := http.NewRequestWithContext(ctx, "GET", url, nil)
				if response, err := client.Do(request); err == nil {
					response.Body.Close()
				}
			}()
		}
		time.Sleep(time.Millisecond)
		giveUp()
		all.Wait()
	}
}

func crowd(count, url string) string {
	n, _ := strconv.Atoi(count)
	answers := make([]string, n)
	var all sync.WaitGroup
	for i := range answers {
		all.Add(1)
		go func() {
			defer all.Done()
			answers[i] = ask("GET", url, nil)
		}()
	}
	all.Wait()
	counts := map[string]int{}
	for _, answer := range answers {
		counts[answer]++
	}
	return fmt.Sprint(counts)
}

// feed never ends.
func feed(count int, url string) {
	taken := new(atomic.Int64)
	for range count {
		go ask("POST", url, counted{taken})
	}
	for {
		time.Sleep(200 * time.Millisecond)
		fmt.Println(taken.Load())
	}
}

func code(err error) string {
	var failure *agentvm.Error
	switch {
	case err == nil:
		return "done"
	case errors.As(err, &failure):
		return failure.Code
	}
	return err.Error()
}

// counted is endless, and counts what is read of it.
type counted struct{ taken *atomic.Int64 }

func (body counted) Read(buffer []byte) (int, error) {
	body.taken.Add(int64(len(buffer)))
	return endless{}.Read(buffer)
}

type endless struct{}

func (endless) Read(buffer []byte) (int, error) {
	for i := range buffer {
		buffer[i] = 'x'
	}
	return len(buffer), nil
}
