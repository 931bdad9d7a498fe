// Hello greets, and shows that a guest sees what its manifest declares and nothing else.
package main

import (
	"fmt"
	"os"
	"strings"
)

func main() {
	fmt.Printf("hello, %s\n", strings.Join(os.Args[1:], " and "))
	fmt.Printf("my whole environment: %q\n", os.Environ())
	_, err := os.ReadFile("/etc/hostname")
	fmt.Printf("a file of the host's: %v\n", err)
}
