// Fetch asks for the one page that its manifest allows, and then for what it does not.
package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	// Every client of net/http makes its requests through the VM.
	_ "agentvm.example/agentvm/http"
)

var attempts = []string{
	"GET https://example.com/",
	"GET https://example.com/admin",
	"POST https://example.com/",
	"GET http://example.com/",
	"GET https://www.example.com/",
	"GET http://169.254.169.254/latest/meta-data/",
}

func main() {
	for _, attempt := range attempts {
		method, url, _ := strings.Cut(attempt, " ")
		fmt.Printf("%s: %s\n", attempt, fetch(method, url))
	}
}

// fetch sends no key and has none: the gateway adds it, where the manifest says so.
func fetch(method, url string) string {
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		return err.Error()
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s, %d bytes", answer.Status, len(text))
}
